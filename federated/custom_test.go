package federated_test

import (
	"encoding/json"
	"errors"

	"github.com/larder-dp/larder/federated"
)

// listsWith prepares the function of ExampleCustom: a list adds 1 to "yes" if
// it names the item.
func listsWith(params json.RawMessage) (federated.Contribute, error) {
	var p struct{ Item string }
	if err := json.Unmarshal(params, &p); err != nil || p.Item == "" {
		return nil, errors.New("want {\"item\": …}")
	}
	return func(r *federated.Record, emit func(string, int64)) {
		for _, l := range r.Lines {
			if l.Item == p.Item {
				emit("yes", 1)
				return
			}
		}
	}, nil
}
