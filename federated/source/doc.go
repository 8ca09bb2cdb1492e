// Package source reads federated.Records from files: shopping lists, sales and
// inventories as JSON or CSV, and the tables of the Complete Journey.
//
//	lists, err := source.Lists(source.Path("lists.json"), source.Options{
//		Item: catalog, ListKey: key, Reject: exceptions.Write,
//	})
//
// A file is read as a stream, each time a sequence is ranged over. What is bad
// is dropped and reported as an Exception with all its reasons, the file, the
// line and the field, and without any value; what is good goes on. Lines count
// from 1 in the decompressed text; an exception has the line where that begins
// which it drops. An iterator yields an error, as its last, only if a file
// cannot be opened or read, or is of another kind: CSV whose header does not fit,
// or not a JSON array. Then the sequence is broken and a node answers nothing.
//
// # The promise
//
// Every list, sale, stock and row is either yielded or reported, and so is every
// line of what is yielded. A bad line drops that line; a bad head (anything
// outside of the lines) drops the list or the sale. The lines of a list or sale
// that was dropped are reported on their own only if they are bad. Two passes
// over the same file give the same. Neither exceptions nor errors have an id, a
// quantity or any other text of the file in them. All quantities yielded
// are positive (in an inventory: not negative), all spends not negative, and all
// ids and stores well formed.
//
// What the package does not do: it clips nothing (the Bounds of a query do, such
// as the 32,623 pieces of gasoline in one row of the Complete Journey), adds
// nothing up (items that repeat in a list, and stocks that repeat, are yielded
// as often as they stand there, and add up at the node), and does not look for
// ids that come twice in a file (records of one id belong together). The number of
// exceptions, and what Options.RejectAt tells of stores, are true facts about
// records: they stay with the node's operator, or in a simulation.
//
// # What all formats share
//
// A file that begins with the bytes 1f 8b is gzip, whatever its name. A UTF-8
// byte order mark is passed over. A file that ends too early, or whose compression is
// damaged, has one exception for the "rest of file" at the last line that could
// be read; what came before goes on. A CSV file without compression that was
// cut off within its last field cannot be told from a whole one.
//
// An id (of a member, a list, a sale, an item) has 1 to 128 bytes of valid UTF-8
// without control characters and without white space around it. A store has 1 to
// 64 printable ASCII characters except space, comma and *. In JSON both may be
// whole numbers too, which mean their decimal text: 7 is "7", and "07" is
// another. What breaks this is Malformed and never taken for an empty one.
//
// A quantity is a whole number as JSON writes it, within int64: 2.0, 1e3, 1e400, +1,
// 007 and NaN are exceptions, and so are 0 (except in an inventory), negative
// numbers, and, in JSON, "2".
//
// A time is YYYY-MM-DD, which is midnight UTC, or YYYY-MM-DDThh:mm:ss, with a
// space for the T or not, with a fraction of up to nine digits or not, and with
// Z, ±hhmm, ±hh:mm or nothing, which is UTC. The offset is kept in Record.Time.
//
// An item that Options.Item does not know is UnknownItem.
//
// JSON: the file is one array. If its first character besides white space is not
// [, it is of another kind, such as CSV, and that is an error; an empty file is
// one that ends too early. Fields that are not named here are passed over,
// but must be JSON; their names are compared exactly. A field named here that
// stands twice in one object is an exception. A line that is not JSON spoils only itself
// if its brackets and quotes let it, and so does a record; damaged brackets may
// give more than one exception. CSV: RFC 4180, one row a line (a line break
// within quotes is an exception), with a header. Columns may be in any order.
// A missing one is an error, and so is one that the format does not know or that
// is there twice. Empty lines are passed over.
//
// # Lists (lists.json)
//
//	list_items                  required; array of lines, of which one must be good
//	  item_id                   required; id
//	  quantity                  required; quantity
//	  item, category            not read
//	store_location_preferences  required; array of 1 to 1,024 stores in the order of
//	                            preference; one, two or three are all fine; a store
//	                            that repeats counts once; one malformed store drops
//	                            the list
//	list_id                     id; without it the list gets one, see below
//	membership_number           id; "" is like none
//	date                        time; without it the list belongs to every window
//
// A list without a good line is Empty, besides the exceptions of its lines.
//
// # Lists as CSV (lists.csv)
//
//	list_idx                    required; id; says which rows are one list
//	store_id                    required; store; the preferences are in the order in
//	                            which the stores first appear in the list's rows
//	item_id, quantity           required; as in JSON
//	item, category              not read; may be missing
//
// A list has a row for each line and each preferred store; the rows of a list
// stand together, in any order. A line counts if it stands at every store of the
// list, as often as at the store that has it least; rows beyond that are NotEqual.
// So a row that is bad drops its line and not the list. list_idx is a row
// number and not an id: every list gets an id as below, the same as in JSON.
// A list whose list_idx was there before is dropped as Scattered: in a file
// sorted by store every list would count as one list for each store. The list
// in hand when a compressed file is cut off may lack rows and is dropped too.
//
// # Ids of lists that have none
//
// The id is a keyed hash of the whole list, and its ordinal among the same lists
// of the file: lower-case hexadecimal of the first 16 bytes of
// HMAC-SHA256(Options.ListKey, canonical form), "-", and the ordinal in decimal,
// from 1. A row number instead would give all later lists another id when one
// is removed; a bare hash would make one person of all who wrote the same list,
// and could be guessed by whoever knows the list. Removing a list here removes
// one record and changes no other (of lists that are the same it takes
// away the highest ordinal). The canonical form is, with numbers in big-endian
// order:
//
//	"larder/list/v1" and a zero byte
//	member:  4 bytes length, and that many bytes (length 0 if there is none)
//	time:    byte 0 if there is none; otherwise byte 1, 8 bytes seconds since 1970
//	         (signed), 4 bytes nanoseconds, 4 bytes offset in seconds east (signed)
//	stores:  4 bytes number of preferences, each once and in order; for each:
//	         4 bytes length, and that many bytes
//	lines:   4 bytes number of lines; for each: 4 bytes length of item_id, that many
//	         bytes, 8 bytes quantity; sorted by the bytes of item_id, then quantity
//
// Lines that are not well formed are not in it; lines with an item that the
// catalog does not know are, and a list with only such lines takes an ordinal,
// so nodes with different catalogs agree. They agree if each has all lists that
// prefer it in one file: ordinals begin anew in each file. To whoever holds the
// key an id tells a guessed list; it is no pseudonym and stays at the node.
//
// # Sales (sales_sample5.json)
//
//	sale_id                     required; id
//	membership_number           required; id; "" is an anonymous sale, and nothing
//	                            else is: no field, or null, is an exception
//	sale_datetime               required; time
//	store_id                    required; store
//	items                       required; as list_items
//	store_location              not read
//
// # Inventory (inventory.json, inventory.csv)
//
//	store_id                    required; store
//	item_id                     required; id
//	quantity                    required; 0 is fine, a negative one is an exception
//	item, category              not read; may be missing
//
// A file may have many stores; StockOf takes out the one of a node.
//
// # Transactions (Complete Journey, CSV)
//
//	household_id                required; id; Record.Member
//	store_id                    required; store
//	basket_id                   required; id; Record.ID
//	product_id                  required; id; the item
//	quantity                    required; quantity; never clipped here
//	sales_value                 required; a decimal number, also with an exponent,
//	                            rounded to cents, half away from zero; 0 is fine
//	                            and matters only to spend, and so is
//	                            4.440892e-16; negative cents are an exception
//	transaction_timestamp       required; time
//	retail_disc, coupon_disc, coupon_match_disc, week
//	                            not read; may be missing
//
// Each row is a record of one line; the rows of a basket have the same ID.
//
// # Products (Complete Journey, CSV)
//
//	product_id                  required; id
//	department                  required; id, or empty, which is "(none)"
//	product_category            required; id, or empty, which is "(none)"
//	manufacturer_id, brand, product_type, package_size
//	                            not read; may be missing
//
// # Limits
//
// A pass holds one element of a JSON array (at most 16 MiB) or one line of CSV
// (at most 256 KiB), or all rows of one list of lists.csv (at most 16 MiB,
// with 128 bytes for each row besides its text); what is longer is TooLong. Values that
// are not read may nest 100 deep. It remembers up to 65,536 items and as many
// ids of members and stores to spare allocations. Only two things grow with the
// file: 16 bytes and a counter for each different list without an id, and 16
// bytes for each list of lists.csv.
//
// Sequences may be ranged over from several goroutines at once if the functions
// of the Options may be called so; each range is its own pass.
package source
