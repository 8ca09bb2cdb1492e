package source

import "iter"

// A Product is one row of a product table: where an item belongs. It is no
// member's data.
type Product struct {
	ID string
	// Department and Category are "(none)" where the table says nothing, so that
	// every product has a partition.
	Department, Category string
}

const noPartition = "(none)"

var (
	productColumns = []string{"product_id", "department", "product_category"}
	productPassed  = []string{"manufacturer_id", "brand", "product_type", "package_size"}
)

// Products reads a CSV file of products, as in the Complete Journey, from which
// a caller makes the map behind Options.Item; Options.Item itself is not asked.
// Each range reads the file from its beginning.
func Products(f File, o Options) (iter.Seq2[Product, error], error) {
	if err := o.validate(f, false); err != nil {
		return nil, err
	}
	return func(yield func(Product, error) bool) {
		p := newPass(f, o)
		err := p.eachRow(f, droppedProduct, productColumns, productPassed, func(line, _ int, x [][]byte) bool {
			p.fault(productColumns[0], checkID(x[0]))
			department, problem := p.label(x[1])
			p.fault(productColumns[1], problem)
			category, problem := p.label(x[2])
			p.fault(productColumns[2], problem)
			if p.rejected(line, droppedProduct) {
				return true
			}
			return yield(Product{string(x[0]), department, category}, nil)
		})
		if err != nil {
			yield(Product{}, err)
		}
	}, nil
}

// label reads the name of a department or a category.
func (p *pass) label(b []byte) (string, Problem) {
	problem := checkID(b)
	switch problem {
	case Missing:
		return noPartition, ""
	case "":
		return p.name(b), ""
	}
	return "", problem
}
