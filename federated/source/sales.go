package source

import "github.com/larder-dp/larder/federated"

// Sales reads sales: a JSON array as in sales_sample5.json. The package
// documentation gives the format. Each range reads the file from its beginning.
func Sales(f File, o Options) (federated.Records, error) {
	if err := o.validate(f, false); err != nil {
		return nil, err
	}
	return func(yield func(federated.Record, error) bool) {
		s := &saleReader{pass: newPass(f, o)}
		err := s.eachElement(f, droppedSale, "is it CSV? use Transactions, if it is of that format", func(v *values) bool {
			r := s.read(v)
			return s.rejected(v.start, droppedSale) || yield(r, nil)
		})
		if err != nil {
			yield(federated.Record{}, err)
		}
	}, nil
}

var saleFields = []string{"sale_id", "membership_number", "sale_datetime", "store_id", "items", "store_location"}

type saleReader struct {
	*pass
	lines lines
	store [1]federated.NodeID
}

// read reads one sale. If it must be dropped there are reasons.
func (s *saleReader) read(v *values) (r federated.Record) {
	s.lines.reset()
	var x [6]value
	ok := s.record(v, saleFields, x[:], func(k int) bool {
		if k == 4 {
			s.readLines(v, saleFields[k], droppedSaleLine, &s.lines)
		}
		return k == 4
	})
	if !ok {
		return r
	}
	id, problem := x[0].id()
	s.fault(saleFields[0], problem)
	member, problem := x[1].member()
	s.fault(saleFields[1], problem)
	t, problem := s.time(x[2])
	s.fault(saleFields[2], problem)
	store, problem := x[3].node()
	s.namesStore(store, problem)
	s.fault(saleFields[3], problem)
	s.fault(saleFields[4], s.lines.problem)
	if s.lines.problem == "" && len(s.lines.known) == 0 {
		s.fault(saleFields[4], Empty)
	}
	s.fault(saleFields[5], x[5].unread())
	if len(s.reasons) > 0 {
		return r
	}
	s.store[0] = s.node(store)
	r.ID, r.Member, r.Time = string(id), s.name(member), t
	r.Stores, r.Lines = s.store[:], s.lines.known
	return r
}
