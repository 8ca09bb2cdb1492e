package source

import "github.com/larder-dp/larder/federated"

var (
	transactionColumns = []string{"household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"}
	transactionPassed  = []string{"retail_disc", "coupon_disc", "coupon_match_disc", "week"}
)

// Transactions reads sales as a CSV file of transactions, as in the Complete
// Journey: each row is a record of one line. The package documentation gives
// the format. Each range reads the file from its beginning.
func Transactions(f File, o Options) (federated.Records, error) {
	if err := o.validate(f, false); err != nil {
		return nil, err
	}
	return func(yield func(federated.Record, error) bool) {
		t := &transactionReader{pass: newPass(f, o)}
		err := t.eachRow(f, droppedTransaction, transactionColumns, transactionPassed, func(line, _ int, x [][]byte) bool {
			r := t.read(x)
			return t.rejected(line, droppedTransaction) || yield(r, nil)
		})
		if err != nil {
			yield(federated.Record{}, err)
		}
	}, nil
}

type transactionReader struct {
	*pass
	store  [1]federated.NodeID
	line   [1]federated.Line
	basket string // the last one: rows of one basket are mostly together
}

// read reads one row. If it must be dropped there are reasons.
func (t *transactionReader) read(x [][]byte) (r federated.Record) {
	t.fault(transactionColumns[0], checkID(x[0]))
	problem := checkNode(x[1])
	t.namesStore(x[1], problem)
	t.fault(transactionColumns[1], problem)
	t.fault(transactionColumns[2], checkID(x[2]))
	problem = checkID(x[3])
	if problem == "" {
		var known bool
		if t.line[0].Item, known = t.item(x[3]); !known {
			problem = UnknownItem
		}
	}
	t.fault(transactionColumns[3], problem)
	quantity, problem := positive(parseField(x[4]))
	t.fault(transactionColumns[4], problem)
	spend, problem := parseCents(x[5])
	t.fault(transactionColumns[5], problem)
	when, problem := t.parseTime(x[6])
	t.fault(transactionColumns[6], problem)
	if len(t.reasons) > 0 {
		return r
	}
	if t.basket != string(x[2]) {
		t.basket = string(x[2])
	}
	t.store[0] = t.node(x[1])
	t.line[0].Quantity, t.line[0].Spend = quantity, spend
	return federated.Record{
		ID: t.basket, Member: t.name(x[0]), Stores: t.store[:], Time: when, Lines: t.line[:],
	}
}

// parseField reads a whole number of a CSV file.
func parseField(b []byte) (int64, Problem) {
	if len(b) == 0 {
		return 0, Missing
	}
	return parseWhole(b)
}
