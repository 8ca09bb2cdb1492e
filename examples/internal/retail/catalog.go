package retail

import "fmt"

// An aisle is a category of the invented catalog. Of 100 lines of a basket,
// weight are from it on average, and each of its items is as likely as the
// others.
type aisle struct {
	name   string
	weight int
	items  []string
}

// aisles are 23 categories of 133 items; the weights sum to 100.
var aisles = []aisle{
	{"Fruit Stand", 9, []string{
		"pear", "plum", "peach", "cherries", "blueberries", "kiwi", "mango", "pineapple", "lemon",
	}},
	{"Greens and Roots", 11, []string{
		"spinach", "leek", "beetroot", "parsnip", "celery", "courgette", "cabbage", "radish", "aubergine", "fennel",
		"kale",
	}},
	{"Tins and Jars", 4, []string{
		"chickpeas", "lentil soup", "peeled tomatoes", "gherkins", "sweetcorn", "tinned sardines",
	}},
	{"Freezer", 4, []string{"ice cream", "frozen peas", "fish fingers", "puff pastry", "frozen berries"}},
	{"Butcher", 6, []string{
		"chicken thighs", "minced beef", "pork chops", "lamb shoulder", "turkey breast", "meatballs",
	}},
	{"Plant Kitchen", 3, []string{"tempeh", "seitan", "falafel", "oat cream", "bean burgers"}},
	{"Fishmonger", 3, []string{"cod", "trout", "mussels", "prawns", "herring"}},
	{"Milk and Eggs", 9, []string{"whole milk", "butter", "eggs", "plain yoghurt", "cream"}},
	{"Cheese Counter", 5, []string{"gouda", "brie", "feta", "goat cheese", "parmesan"}},
	{"Spice Rack", 3, []string{
		"cinnamon", "paprika", "cumin", "turmeric", "oregano", "black pepper", "sea salt", "bay leaves",
	}},
	{"Oils and Vinegars", 3, []string{"olive oil", "rapeseed oil", "balsamic vinegar", "sesame oil"}},
	{"Crisps and Sweets", 6, []string{
		"salted crisps", "dark chocolate", "liquorice", "oat biscuits", "rice cakes", "roasted almonds", "caramel bar",
	}},
	{"Bakery", 8, []string{"rye loaf", "baguette", "flatbread", "croissant", "raisin bun", "crispbread", "bagel"}},
	{"Cold Drinks", 5, []string{"apple juice", "lemonade", "sparkling water", "ginger beer", "cola", "oat drink"}},
	{"Tea and Coffee", 4, []string{"ground coffee", "green tea", "cocoa", "mint tea"}},
	{"Grains and Noodles", 4, []string{"basmati rice", "couscous", "penne", "egg noodles", "bulgur"}},
	{"Breakfast", 3, []string{"muesli", "honey", "corn puffs", "strawberry jam"}},
	{"Baking Shelf", 2, []string{"wheat flour", "cane sugar", "dry yeast", "vanilla pods"}},
	{"Soap and Skin", 2, []string{
		"hand soap", "shampoo", "toothbrush", "shower gel", "hand cream", "razors", "dental floss",
	}},
	{"Pharmacy Shelf", 1, []string{"plasters", "cough drops", "vitamin C", "cotton wool", "sunscreen"}},
	{"Paper Goods", 2, []string{"kitchen roll", "napkins", "baking paper", "tissues", "bin bags"}},
	{"Cleaning Cupboard", 2, []string{
		"washing powder", "dish soap", "sponges", "glass cleaner", "descaler", "floor cloth",
	}},
	{"Pets and Babies", 1, []string{"cat food", "dog biscuits", "nappies", "baby porridge"}},
}

// catalog lists the items aisle by aisle. The id is the aisle's number from 101
// and the item's from 01: 10203 is the third of the second aisle.
func catalog() []Item {
	var out []Item
	for a, from := range aisles {
		for i, name := range from.items {
			out = append(out, Item{ID: fmt.Sprintf("%d%02d", 101+a, i+1), Name: name, Category: from.name})
		}
	}
	return out
}

var storeNames = []string{
	"Mill Street", "Harbour", "Old Town", "Station", "North Gate", "Riverside", "Hilltop", "Market Square",
	"Garden City", "West End", "Lakeside", "Orchard Road", "East Quay", "Castle Lane", "Meadow Park", "Bridge End",
	"South Field", "Canal Walk", "Forest Edge", "Tower Hill", "Windmill", "Rose Court", "Copper Row", "Long Acre",
	"Ferry Point", "Stone Cross", "Linden Avenue", "Brook Side", "King's Yard", "Sandy Bay",
}

// storeName is the name of the store at position i; beyond the names it counts:
// "Mill Street 2".
func storeName(i int) string {
	name := storeNames[i%len(storeNames)]
	if again := i / len(storeNames); again > 0 {
		return fmt.Sprintf("%s %d", name, again+1)
	}
	return name
}

// A share is a segment with its part of the members, in percent.
type share struct {
	name    string
	percent int
}

var segments = []share{{"student", 15}, {"family", 40}, {"senior", 25}, {"other", 20}}
