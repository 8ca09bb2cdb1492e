package privacyteam

import (
	"encoding/json"
	"errors"

	"github.com/larder-dp/larder/federated"
)

// Bulk counts how often an item is on a list or a receipt with at least so many
// pieces of it. The node bounds what one unit adds: nothing here has to.
var Bulk = federated.Function{
	Name: "bulk", Version: 1, From: []federated.Kind{federated.Lists, federated.Sales}, Prepare: bulk,
}

// BulkParams are its parameters.
type BulkParams struct {
	Pieces int64 `json:"pieces"`
}

// AskBulk asks for it.
func AskBulk(pieces int64, q federated.Question) (federated.Query, error) {
	return federated.Custom(Bulk.Name, Bulk.Version, BulkParams{pieces}, q)
}

func bulk(params json.RawMessage) (federated.Contribute, error) {
	var p BulkParams
	if err := json.Unmarshal(params, &p); err != nil || p.Pieces < 2 {
		return nil, errors.New(`prepare bulk: want {"pieces": n} with n at least 2`)
	}
	return func(r *federated.Record, emit func(string, int64)) {
		for _, l := range r.Lines {
			if l.Quantity >= p.Pieces {
				emit(l.Item, 1)
			}
		}
	}, nil
}
