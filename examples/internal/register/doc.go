// Package register takes files of applications for membership, keeps the members,
// and gives each a keyed pseudonym. It is the work behind examples/membership.
//
//	keys, err := CreateKeys("key.json", "1")        // once; OpenKeys later
//	scope, err := NewScope(keys, "1")
//	store, err := SQLite("members.db")              // or Postgres(connection)
//	r, err := Open(ctx, Config{Dir: dir, Store: store, Scope: scope, AsOf: 20220101, Now: time.Now})
//	file, known, err := r.Add(ctx, "applications.csv") // durable when it returns
//	err = r.Publish(ctx)                            // successful.csv, unsuccessful.csv, pseudonyms.csv
//
// # Input
//
// CSV after RFC 4180 in UTF-8, with a header that has the columns name, email,
// date_of_birth and mobile_no, each once, in any order, and no others. A byte
// order mark is passed over, lines end with LF or CR LF, and one line is one row:
// a line break within quotes ends the row, so that a lost quote costs one row and
// not the rest of the file. Empty lines are passed over. A file without that
// header, of more than 256 MiB, whose name has control characters, or that is a pipe
// or may not be read is refused whole and stays where it is.
//
// # Rules
//
// Spaces and tabs around a value do not count. Every row is checked by all rules
// and has all its reasons; a reason is one of a few fixed texts.
//
//	name           present. Titles in front (Mr Mrs Ms Miss Mx Dr Prof Sir Dame Madam Rev)
//	               and suffixes behind (Jr Sr II III IV MD DDS DVM PhD Esq RN CPA JD), in any
//	               case, with a dot or a comma or without, and suffixes with dots within
//	               (M.D.), are taken off, and something is left. The last word is the last
//	               name, all words before it are the first name; one word alone is a last
//	               name. Text without control characters, invisible characters and broken
//	               UTF-8 (pseudonym.Canonical says which).
//	email          …@….com or ….net, in any case:
//	               ^ATOM(\.ATOM)*@(LABEL\.)+(com|net)$ where ATOM is one or more ASCII letters,
//	               digits and !#$%&'*+-/=?^_`{|}~ and LABEL is 1 to 63 letters, digits and
//	               inner hyphens; at most 64 bytes before the @ and 254 in all. A dot is a
//	               dot: addresses at .info, .org or xcom do not pass.
//	date_of_birth  MM/DD/YYYY (with / the month is first), DD-MM-YYYY (with - the day is first),
//	               YYYY-MM-DD or YYYY/MM/DD, where month and day may have one digit; a day that
//	               exists, from 1900 to the day of the check. No guessing: 13/01/1974 is no day.
//	               The applicant is above 18 if the 18th birthday is on or before the day of the
//	               check; who was born on 29 February has it on 1 March.
//	mobile_no      8 ASCII digits once spaces (U+0020) are removed, and nothing else.
//
// All four make an id (below) of at most 256 bytes: a name and an address that are
// too long together fail.
//
// # Who is one member
//
// A member is an (e-mail address, birthday, name) as pseudonym.Canonical spells
// them: case, spaces and forms of Unicode make no difference, and titles are gone.
// The id is the three with a space between; it is never stored. The pseudonym is
// its PRF under the key, for the purpose "membership" and an epoch, and the key of
// the members store. So:
//
//   - Namesakes are two members, even those who were born on one day or who share
//     a family's address or phone. The old id merged them.
//   - A second application of a member is a successful row with the same pseudonym
//     and changes nothing in the store: the first application stays. A new mobile
//     number is not a matter of applications.
//   - One person under two addresses is two members. Nothing can tell her from two
//     namesakes; Likeness counts how many there can be at most. A guarantee for
//     a member is then one for each half of her: at worst twice the loss.
//
// # Outputs
//
// Config.Dir (mode 0700, files 0600) holds
//
//	successful.csv    first_name,last_name,birthday,mobile_no,email,above_18,pseudonym,file,line
//	                  and legacy_id, only with Config.LegacyID
//	unsuccessful.csv  name,email,date_of_birth,mobile_no   as they were given
//	                  first_name,last_name,birthday,above_18  as they were understood, where they were
//	                  reasons   "column: what is wrong; column: …"
//	                  file,line
//	                  not_csv   the line, if it is no row; then the columns before reasons are empty
//	pseudonyms.csv    pseudonym: all members', sorted, each once, and nothing else
//	audit.log         a JSON object a line: time, event (processed, purging, purged), file (the
//	                  SHA-256 of its content) and bytes. Only added to, synced line by line; no names,
//	                  and no counts of rows.
//	members.db        the store, if it is SQLite
//	parts/, lock      each file's rows of the two outputs; who has the register open
//
// birthday is YYYYMMDD, pseudonym 32 hex digits, above_18 true or false, file the
// input's name without folders, line its line from 1. Rows come by file name, then
// by content, then by line: in whatever order files arrive, the outputs are the
// same. legacy_id is <last_name>_<first 5 hex digits of SHA-256(birthday)>. It is
// for programs that still need it, and it gives birthdays away: see RunAttack.
//
// # Store
//
//	membership_settings  name, value                 what all files were processed with
//	membership_files     id, digest, name, bytes, total, successful, reasons (JSON: text → rows),
//	                     members (new ones), processed (Unix seconds), purged
//	membership_members   pseudonym (key: 16 bytes), first_name, last_name, birthday (a number),
//	                     email, mobile_no, legacy_id (or NULL), file (membership_files.id), line
//
// # What it guarantees
//
//   - Nothing is lost: every line of a file that was taken, but for empty ones, is
//     in exactly one of the two outputs, with its file and line.
//   - Nothing is double: a content (SHA-256) is taken once, whatever its name and
//     however often it is given.
//   - A file counts whole or not at all. Its parts are synced first, then one
//     transaction has its members and its row of membership_files; outputs are
//     made of the parts of committed files and renamed into place. Killed at any
//     point, the next run goes on, and the end is the same byte for byte. The
//     store must keep what it committed: SQLite runs with synchronous=FULL, and
//     PostgreSQL with synchronous_commit=on.
//   - One process has a register, by a lock of the folder and one of the PostgreSQL
//     schema; another is refused. So is a folder with outputs that no register made.
//   - One register, one setting: another day, key, epoch or choice of legacy ids
//     than it was made with is refused, so that no output is of two minds.
//   - A raw file is removed only if it still has the content that was taken, after
//     its rows are durable, and the audit log says so before and after.
//   - Errors and the audit log hold no part of a row, and nothing holds the key but
//     its file.
//
// # What it does not protect
//
//   - The register itself. successful.csv, unsuccessful.csv, the parts and the store
//     are the members' data, in clear, unencrypted, and stay with the operator:
//     the store is the table that leads from pseudonyms to names. To others go
//     pseudonyms, if at all. Purging takes away raw files and none of these.
//   - Pseudonyms are not anonymous: whoever has the key can test every guess (see
//     package pseudonym). Keep the key elsewhere than the register. A backup of both
//     in one place undoes it.
//   - A slow writer. A file that kept its size for Watch.Settle is taken; if its
//     writer goes on after that, the whole is another content, and the rows of the
//     beginning are in the outputs twice (its members are not). Write under
//     another name and rename.
//   - A file cut off at the end of a line looks whole.
//   - Spreadsheets: values are written as they are, and one that begins with = is
//     a formula to some programs.
//   - What was deleted may live on in backups, in free pages of the store and on
//     the disk.
//   - Publishing copies all rows of the register, so its cost grows with it.
//   - Lies: nobody checks that an address, a number or a birthday is the
//     applicant's.
package register
