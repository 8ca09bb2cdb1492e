package source_test

import (
	"testing"

	"github.com/larder-dp/larder/federated/source"
)

func TestListsCSV(t *testing.T) {
	const header = "list_idx,store_id,item_id,item,category,quantity\n"
	checkRows(t, source.ListsCSV, []row{
		{
			name: "sample form", reason: "each line stands once at each store", text: header + "0,A,1,x,\"C\",2\n0,A,2,x,\"C\",1\n0,B,1,x,\"C\",2\n0,B,2,x,\"C\",1\n1,B,1,x,C,1\n",
			records: []string{`hash-1 "" [A B] 1×2 2×1`, `hash-1 "" [B] 1×1`},
		},
		{
			name: "interleaved", reason: "the order of the rows of a list is free", text: header + "0,A,1,x,C,2\n0,B,2,x,C,1\n0,B,1,x,C,2\n0,A,2,x,C,1\n",
			records: []string{`hash-1 "" [A B] 1×2 2×1`},
		},
		{
			name: "repeated item", reason: "it stands as often at each store", text: header + "0,A,1,x,C,2\n0,A,1,x,C,2\n0,B,1,x,C,2\n0,B,1,x,C,2\n",
			records: []string{`hash-1 "" [A B] 1×2 1×2`},
		},
		{
			name: "same lists", reason: "list_idx is a row number, not an id", text: header + "5,A,1,x,C,2\n3,A,1,x,C,2\n",
			records: []string{`hash-1 "" [A] 1×2`, `hash-2 "" [A] 1×2`},
		},
		{
			name: "bad line", reason: "a line that is bad at one store is dropped", text: header + "0,A,1,x,C,0\n0,A,2,x,C,1\n0,B,1,x,C,2\n0,B,2,x,C,1\n0,A,99,x,C,1\n0,B,99,x,C,1\n",
			records:    []string{`hash-1 "" [A B] 2×1`},
			exceptions: []string{"2: list line dropped: quantity: zero", "6: list line dropped: item_id: unknown item", "7: list line dropped: item_id: unknown item", "4: list line dropped: not the same at every preferred store"},
		},
		{
			name: "once too often", reason: "as many rows as the store with the fewest", text: header + "0,A,1,x,C,1\n0,A,1,x,C,1\n0,B,1,x,C,1\n",
			records: []string{`hash-1 "" [A B] 1×1`}, exceptions: []string{"3: list line dropped: not the same at every preferred store"},
		},
		{
			name: "nothing left", reason: "a list is a record or an exception", text: header + "0,A,1,x,C,1\n0,B,1,x,C,2\n",
			exceptions: []string{"2: list line dropped: not the same at every preferred store", "3: list line dropped: not the same at every preferred store", "2: list dropped: empty"},
		},
		{
			name: "scattered", reason: "sorted by store, a list would become two", text: header + "0,A,1,x,C,1\n1,A,1,x,C,1\n0,B,1,x,C,1\n0,B,2,x,C,1\n1,B,1,x,C,1\n2,B,1,x,C,1\n",
			records:    []string{`hash-1 "" [A] 1×1`, `hash-2 "" [A] 1×1`, `hash-1 "" [B] 1×1`},
			exceptions: []string{"4: list dropped: list_idx: rows are not together", "6: list dropped: list_idx: rows are not together"},
		},
		{
			name: "all reasons", reason: "in one exception a row", text: header + ",*,,x,C,-1\n0,A,1,x,C,1\n0,A\n0,a b,99,x,C,x\n",
			records: []string{`hash-1 "" [A] 1×1`},
			exceptions: []string{
				"2: list line dropped: list_idx: missing; store_id: malformed; item_id: missing; quantity: negative",
				"4: list line dropped: not CSV",
				"5: list line dropped: store_id: malformed; item_id: unknown item; quantity: not a number",
			},
		},
	})
}
