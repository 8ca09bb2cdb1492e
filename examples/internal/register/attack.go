package register

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// The guesses of an attack: every day from 1900 to 2022.
const (
	firstGuess = firstYear
	lastGuess  = 2022
)

// An Attack is what a brute force over birthdays found out.
type Attack struct {
	// Rows are the rows with a birthday; Guesses the days tried for each.
	Rows, Guesses int
	// LegacyIDs are the rows with one, GiveUp of which are the hash of exactly
	// one of the days, and Right of which give up the birthday beside them.
	LegacyIDs, GiveUp, Right int
	// Pseudonyms of Rows: WithoutKey gave up the birthday to hashes without a key
	// and to another key; WithKey to their own.
	WithoutKey, WithKey int
	// Tried is how many values were compared without the key, in all.
	Tried int64
	// Given says that the pseudonyms are those of the file. Otherwise they are
	// made of its rows.
	Given bool
}

// A victim is a row of the file under attack. The attacker knows all but the
// birthday, which is there to check what he found.
type victim struct {
	application
	hash      string // of the legacy id
	pseudonym [16]byte
}

// RunAttack reads a file with the columns first_name, last_name, birthday and
// email, and attacks its legacy ids (membership_id or legacy_id) and its
// pseudonyms, whose key is scope's; without a column pseudonym they are made
// first. The attacker without the key has other's.
func RunAttack(ctx context.Context, path string, scope, other Scope) (a Attack, err error) {
	victims, given, err := readVictims(path, scope)
	if err != nil {
		return a, err
	}
	days := guesses()
	a.Rows, a.Guesses, a.Given = len(victims), len(days), given
	byHash := map[string][]Date{}
	byDay := map[[16]byte]Date{} // a pseudonym that were a hash of the birthday alone
	for _, day := range days {
		h := legacyHash(day)
		byHash[h] = append(byHash[h], day)
		sum := sha256.Sum256([]byte(day.String()))
		byDay[[16]byte(sum[:16])] = day
	}
	group, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		group.Go(func() error {
			var mine Attack
			for i := w; i < len(victims); i += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := mine.one(&victims[i], days, byHash, byDay, scope, other); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			a.add(mine)
			return nil
		})
	}
	return a, group.Wait()
}

func (a *Attack) add(o Attack) {
	a.LegacyIDs += o.LegacyIDs
	a.GiveUp += o.GiveUp
	a.Right += o.Right
	a.WithoutKey += o.WithoutKey
	a.WithKey += o.WithKey
	a.Tried += o.Tried
}

func (a *Attack) one(v *victim, days []Date, byHash map[string][]Date, byDay map[[16]byte]Date, scope, other Scope) error {
	if v.hash != "" {
		a.LegacyIDs++
		if found := byHash[v.hash]; len(found) == 1 {
			a.GiveUp++
			if found[0] == v.birthday {
				a.Right++
			}
		}
	}
	withoutKey, err := a.guessWithoutKey(v, days, byDay, other)
	if err != nil {
		return err
	}
	if withoutKey {
		a.WithoutKey++
	}
	id, at := v.idAndBirthday()
	for _, day := range days {
		day.append(id[:at])
		p, err := scope.of(string(id))
		if err != nil {
			return err
		}
		if p == v.pseudonym {
			if day == v.birthday {
				a.WithKey++
			}
			break
		}
	}
	return nil
}

// guessWithoutKey takes the pseudonym for a hash of the birthday, for a hash of
// the whole id, and for a value of another key, for which the attacker is even
// told the right birthday.
func (a *Attack) guessWithoutKey(v *victim, days []Date, byDay map[[16]byte]Date, other Scope) (found bool, err error) {
	_, found = byDay[v.pseudonym]
	id, at := v.idAndBirthday()
	for _, day := range days {
		day.append(id[:at])
		sum := sha256.Sum256(id)
		found = found || [16]byte(sum[:16]) == v.pseudonym
	}
	v.birthday.append(id[:at])
	p, err := other.of(string(id))
	a.Tried += 2*int64(len(days)) + 1
	return found || p == v.pseudonym, err
}

// idAndBirthday is a member's id, with room for guesses: its birthday begins at
// byte at.
func (v *victim) idAndBirthday() (id []byte, at int) { return v.id(nil), len(v.email) + 1 }

// guesses are all days, adults' first.
func guesses() (days []Date) {
	for year := lastGuess; year >= firstGuess; year-- {
		for month := 1; month <= 12; month++ {
			for day := 1; day <= daysOf(year, month); day++ {
				days = append(days, makeDate(year, month, day))
			}
		}
	}
	slices.SortStableFunc(days, func(a, b Date) int { return far(a) - far(b) })
	return days
}

// far is how unlikely a birthday is: how many years from 1985.
func far(d Date) int { return max(int(d)/10_000-1985, 1985-int(d)/10_000) }

func readVictims(path string, scope Scope) (_ []victim, given bool, err error) {
	content, _, err := readFile(path)
	if err != nil {
		return nil, false, err
	}
	rows := csv.NewReader(strings.NewReader(strings.TrimPrefix(content, "\ufeff")))
	rows.ReuseRecord = true
	header, err := rows.Read()
	if err != nil {
		return nil, false, fmt.Errorf("read %s: line 1 is no header", path)
	}
	at := func(column string) int { return slices.Index(header, column) }
	first, last, birthday, mail := at("first_name"), at("last_name"), at("birthday"), at("email")
	legacy, pseudonym := max(at("membership_id"), at("legacy_id")), at("pseudonym")
	if min(first, last, birthday, mail) < 0 {
		return nil, false, fmt.Errorf("read %s: line 1: give a file with the columns first_name, last_name, birthday and email, such as successful.csv", path)
	}
	var out []victim
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return out, pseudonym >= 0, nil
		}
		var damaged *csv.ParseError
		if errors.As(err, &damaged) { // whose text has no part of the row
			return nil, false, fmt.Errorf("read %s: line %d: not CSV with the columns of the header", path, damaged.StartLine)
		}
		if err != nil {
			return nil, false, err
		}
		line, _ := rows.FieldPos(0)
		v := victim{application: application{
			first: strings.Clone(row[first]), last: strings.Clone(row[last]), email: strings.Clone(row[mail]),
		}}
		var ok bool
		if v.birthday, ok = digits8(row[birthday]); !ok {
			return nil, false, fmt.Errorf("read %s: line %d: birthday: not YYYYMMDD", path, line)
		}
		if legacy >= 0 {
			if i := strings.LastIndexByte(row[legacy], '_'); i >= 0 && len(row[legacy])-i == 6 {
				v.hash = strings.Clone(row[legacy][i+1:])
			}
		}
		made, err := scope.of(string(v.id(nil)))
		if err != nil {
			return nil, false, fmt.Errorf("read %s: line %d: email, birthday and name: %w", path, line, err)
		}
		if pseudonym < 0 {
			v.pseudonym = made
		} else if p, err := hex.DecodeString(row[pseudonym]); err == nil && len(p) == 16 {
			v.pseudonym = [16]byte(p)
		} else {
			return nil, false, fmt.Errorf("read %s: line %d: pseudonym: not 32 hex digits", path, line)
		}
		out = append(out, v)
	}
}
