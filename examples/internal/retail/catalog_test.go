package retail

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The shape of the catalog: 133 items in 23 categories whose weights sum to 100.
func TestCatalog(t *testing.T) {
	assert.Len(t, aisles, 23)
	weights := 0
	names := map[string]bool{}
	for _, a := range aisles {
		weights += a.weight
		assert.False(t, names[a.name], "%s twice", a.name)
		names[a.name] = true
	}
	assert.Equal(t, 100, weights)

	items := catalog()
	assert.Len(t, items, 133)
	ids := map[string]bool{}
	names = map[string]bool{}
	for _, i := range items {
		assert.False(t, ids[i.ID], "id %s twice", i.ID)
		assert.False(t, names[i.Name], "%s twice", i.Name)
		ids[i.ID], names[i.Name] = true, true
	}
	assert.Equal(t, Item{"10203", "beetroot", "Greens and Roots"}, items[9+2])

	percent := 0
	for _, s := range segments {
		percent += s.percent
	}
	assert.Equal(t, 100, percent)
}

func TestStoreName(t *testing.T) {
	names := map[string]bool{}
	for i := range mostStores {
		names[storeName(i)] = true
	}
	assert.Len(t, names, mostStores, "two stores of one name")
	assert.Equal(t, "Mill Street 2", storeName(len(storeNames)))
}
