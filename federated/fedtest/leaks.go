package fedtest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// NoLeaks fails t if anything that leaves a node or the coordinator holds a
// secret of the world in any form that a Wiretap knows: messages, headers,
// errors, logs, metrics, files, panics and releases, when all goes well and when
// sources, pseudonyms, functions, policies, budgets or messages fail.
func NoLeaks(t testing.TB, c Config) { t.Helper(); leaks.in(t, c) }

// CheckNoLeaks is NoLeaks outside a test.
func CheckNoLeaks(c Config) error { return leaks.over(c) }

// leakScenarios add to the scenarios what throws secrets at a node.
func leakScenarios() []scenario {
	return append(scenarios(),
		scenario{name: "pseudonyms fail and name the member", setup: func(s *setup) {
			s.node = func(n *federated.NodeConfig) {
				inner := n.Pseudonym
				n.Pseudonym = func(m string) ([16]byte, error) {
					if len(m) > 1 && m[0]%2 == 0 {
						return [16]byte{}, errors.New("malformed member " + m)
					}
					return inner(m)
				}
			}
		}},
		scenario{name: "pseudonyms panic and name the member", setup: func(s *setup) {
			s.node = func(n *federated.NodeConfig) {
				inner := n.Pseudonym
				n.Pseudonym = func(m string) ([16]byte, error) {
					if len(m) > 1 {
						panic("no such member: " + m)
					}
					return inner(m)
				}
			}
		}},
		scenario{name: "sources fail with an error that names records", operator: true, setup: func(s *setup) {
			s.node = func(n *federated.NodeConfig) {
				names := errors.New("damaged near " + spelled(n.Lists, n.Sales, n.Memberships))
				n.Lists, n.Sales, n.Memberships = breaking(n.Lists, names), breaking(n.Sales, names), breaking(n.Memberships, names)
			}
		}},
		scenario{name: "functions panic and name the record", setup: func(s *setup) {
			s.node = func(n *federated.NodeConfig) {
				n.Functions = slices.Clone(n.Functions)
				for i, f := range n.Functions {
					n.Functions[i].Prepare = panicking(f.Prepare, func(r *federated.Record) string { return fmt.Sprintf("bad record %+v", *r) })
				}
			}
		}},
	)
}

var leaks = check{"NoLeaks", 22, func(c Config, seed uint64) error {
	w := c.drawWorld(seed)
	search, err := c.secrets(w)
	if err != nil {
		return err
	}
	for _, s := range leakScenarios() {
		got, err := c.listen(w, s, search)
		if err != nil {
			return err
		}
		if got == "" {
			continue
		}
		small, found := shrink(w, 0, func(w *world) string {
			got, err := c.listen(w, s, search)
			if err != nil {
				return ""
			}
			return got
		})
		if found == "" {
			small, found = w, got
		}
		return &Violation{
			Rule:  "nothing that leaves a node or the coordinator names a member, list, sale, time, amount, item outside the catalog, pseudonym or key, in any form",
			Got:   "when " + s.name + ", " + found,
			Input: small.String(),
			Means: "a record, or what identifies one, is where the coordinator, an operator or a log store reads it, and noise does not help any more",
		}
	}
	return nil
}}

func (c Config) listen(w *world, s scenario, search *searcher) (string, error) {
	st := setup{seed: 7, budget: dp.Budget{Epsilon: 100, Delta: 0.5}}
	if s.setup != nil {
		s.setup(&st)
	}
	f, err := c.federation(w, st)
	if err != nil {
		return "", err
	}
	q, err := f.Query(ordinary, s.ask)
	if err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	if s.faults != nil {
		f.Faults(s.faults(w)...)
	}
	_, _ = f.Run(context.Background(), q) // what it says is on the tap
	if s.again {
		_, _ = f.Run(context.Background(), q)
	}
	f.provoke(q)
	if s.operator {
		f.tap.heard = slices.DeleteFunc(f.tap.heard, func(u utterance) bool {
			return u.channel == "log" || strings.HasPrefix(u.what, "of a node")
		})
	}
	tap, err := f.tapped(search)
	if err != nil {
		return "", err
	}
	if err := tap.Check(); err != nil {
		return strings.TrimPrefix(err.Error(), "search what left: "), nil
	}
	return "", nil
}

// provoke sends every node what is no question, for its errors.
func (f *Federation) provoke(q federated.Query) {
	body := askOf(q, 9).encode()
	ended, end := context.WithCancel(context.Background())
	end()
	for _, id := range f.w.stores {
		for _, b := range [][]byte{nil, []byte("hello"), body[:len(body)-1], append([]byte(refusalMagic), body...)} {
			_, _ = f.nodes[id].Answer(context.Background(), b)
		}
		_, _ = f.nodes[id].Answer(ended, body)
	}
}

// Pseudonyms fails t if Config.Pseudonym is none: if it is not the same for the same
// member within an epoch, is the same for two members or in two epochs, has a byte that is
// the same for all members, in two epochs, or as in the id, is an
// unkeyed hash or a part of the member's id, or names an id in an error. Whether ids that
// differ in case, white space, signs or leading zeros alone are one member is for the team to say.
func Pseudonyms(t testing.TB, c Config) { t.Helper(); pseudonyms.in(t, c) }

// CheckPseudonyms is Pseudonyms outside a test.
func CheckPseudonyms(c Config) error { return pseudonyms.over(c) }

var pseudonyms = check{"Pseudonyms", 3, func(c Config, seed uint64) error {
	got, err := c.tryPseudonyms(seed)
	if err != nil || got == "" {
		return err
	}
	return &Violation{
		Rule:  "a pseudonym is a keyed function of the member: the same in an epoch, another in another, and nothing that a guess of her id can be compared with",
		Got:   got,
		Means: "whoever has the pseudonyms tries all names and birthdays and knows the members, or follows one from epoch to epoch; where two members share one, a bound is cut for both together",
	}
}}

func (c Config) tryPseudonyms(seed uint64) (string, error) {
	first, err := c.Pseudonym("epoch-1")
	if err != nil {
		return "", fmt.Errorf("make pseudonym: %w", err)
	}
	again, err := c.Pseudonym("epoch-1")
	if err != nil {
		return "", fmt.Errorf("make pseudonym: %w", err)
	}
	other, err := c.Pseudonym("epoch-2")
	if err != nil {
		return "", fmt.Errorf("make pseudonym: %w", err)
	}
	d := drawer{Rand: rand.New(rand.NewPCG(seed, 5))}
	of := map[[16]byte]string{}
	var ids []string
	var ps, others [][16]byte
	var planted []Canary
	var heard []byte
	for range 60 {
		var u unitRows
		m := d.member(&u)
		p, err := first(m)
		if err != nil {
			continue // ids of that form are not for it
		}
		if q, err := again(m); err != nil || p != q {
			return "one member has two pseudonyms in one epoch", nil
		}
		q, err := other(m)
		if err == nil && p == q {
			return "a member has one pseudonym in two epochs", nil
		}
		if err == nil && of[p] != m {
			ids, ps, others = append(ids, m), append(ps, p), append(others, q)
		}
		if before, ok := of[p]; ok && before != m {
			return "two members have one pseudonym", nil
		}
		of[p] = m
		if len(of) <= 4 { // of whom hashes are computed
			if how := guessable(p, m, "epoch-1"); how != "" {
				return "a pseudonym is " + how, nil
			}
			planted, heard = append(planted, u.planted[0]), append(append(heard, p[:]...), ' ')
		}
	}
	tap, err := NewWiretap(planted...)
	if err != nil {
		return "", err
	}
	tap.Hear("pseudonym", "bytes", heard)
	if leaks := tap.Leaks(); len(leaks) > 0 {
		return leaks[0], nil
	}
	if got := telling(ids, ps, others); got != "" {
		return got, nil
	}
	if got := avalanche(first, d); got != "" {
		return got, nil
	}
	long := d.word("bcdfghjklmnpqrstvwxz", 100)
	p, err1 := first(long + "b")
	q, err2 := first(long + "c")
	if err1 == nil && err2 == nil && p == q {
		return "two members whose ids differ in their last letter have one pseudonym", nil
	}
	for _, sign := range "_-@./:#" {
		name := d.word("bcdfghjklmnpqrstvwxz", 12) + string(sign)
		for _, pair := range [][2]string{{name + "1001", name + "1002"}, {"1001" + name, "1002" + name}} {
			p, err1 := first(pair[0])
			q, err2 := first(pair[1])
			if err1 == nil && err2 == nil && p == q {
				return fmt.Sprintf("two members whose ids differ on one side of %q have one pseudonym", sign), nil
			}
		}
	}
	// Pseudonyms of 20 bits: 30 pairs of these are expected to have the same.
	many := map[[16]byte]bool{}
	for i := range 8000 {
		p, err := first(fmt.Sprint(1e9*(seed%9000+1000) + uint64(i)*7919))
		if err != nil {
			continue
		}
		if many[p] {
			return fmt.Sprintf("two members of %d have one pseudonym", i+1), nil
		}
		many[p] = true
	}
	const canary = "canarymember"
	for _, bad := range []string{strings.Repeat(canary, 20), canary + "\x00\xff", " " + canary + " ", canary + "\n", canary + "é", "Ж" + canary, canary + "\u200b", canary + "'; --", "<" + canary + ">", canary + "%s"} {
		_, err := first(bad)
		tap, bug := NewWiretap(Canary{Name: "id", Value: canary})
		if bug != nil {
			return "", bug
		}
		if tap.HearError("of a pseudonym", err); err != nil && len(tap.Leaks()) > 0 {
			return "the error for a malformed id has the id in it: " + tap.Leaks()[0], nil
		}
	}
	return "", nil
}

// telling says which byte of pseudonyms is the same for everybody, comes from one in another
// epoch by flipping the same bits for everybody, or is a letter of the id. Of n members chance
// makes any of these of a byte with the
// probability 256⁻ⁿ⁺¹ each; fewer than 12 are not judged.
func telling(ids []string, ps, others [][16]byte) string {
	if len(ids) < 12 {
		return ""
	}
	always := func(is func(i int) bool) bool {
		for i := range ids {
			if !is(i) {
				return false
			}
		}
		return true
	}
	for at := range ps[0] {
		if always(func(i int) bool { return ps[i][at] == ps[0][at] }) {
			return fmt.Sprintf("byte %d of a pseudonym is the same for all members", at)
		}
		for letter := range len(ids[0]) {
			if always(func(i int) bool { return letter < len(ids[i]) && ps[i][at] == ids[i][letter] }) {
				return fmt.Sprintf("byte %d of a pseudonym is letter %d of the id", at, letter+1)
			}
		}
		for from := range others[0] {
			if always(func(i int) bool { return ps[i][at]^others[i][from] == ps[0][at]^others[0][from] }) {
				return fmt.Sprintf("byte %d of a pseudonym follows from byte %d in another epoch", at, from)
			}
		}
	}
	return ""
}

// publicSalts are what anybody tries first, besides the name of the epoch.
var publicSalts = []string{"", "salt", "pepper", "key", "secret", "larder", "member", "pseudonym", "demand", "hmac", "0", "1"}

// guessable says how a pseudonym can be computed from a guess of the member's id
// and what is public.
func guessable(p [16]byte, member, epoch string) string {
	for _, salt := range append([]string{epoch}, publicSalts...) {
		for _, sep := range []string{"", ":", "|", "-", "_", "/", " ", "\x00"} {
			for _, in := range []string{salt + sep + member, member + sep + salt} {
				for _, h := range unkeyed {
					if sum := h.of([]byte(in)); len(sum) >= 8 && shares(p, sum) {
						return fmt.Sprintf("the %s of the id and %q", h.name, salt)
					}
				}
			}
		}
		for name, h := range map[string]func() hash.Hash{"MD5": md5.New, "SHA-1": sha1.New, "SHA-256": sha256.New, "SHA-512": sha512.New} {
			mac := hmac.New(h, []byte(salt))
			mac.Write([]byte(member))
			if shares(p, mac.Sum(nil)) {
				return fmt.Sprintf("the HMAC-%s of the id under the public key %q", name, salt)
			}
		}
	}
	return ""
}

// shares says whether p begins or ends with 8 bytes that sum begins or ends with.
func shares(p [16]byte, sum []byte) bool {
	for _, part := range [][]byte{sum[:8], sum[len(sum)-8:]} {
		if bytes.Equal(p[:8], part) || bytes.Equal(p[8:], part) {
			return true
		}
	}
	return false
}

// avalanche wants the pseudonyms of ids that differ in one letter to differ like
// random bits: of 128, fewer than 30 with a probability below 10⁻⁹.
func avalanche(of func(string) ([16]byte, error), d drawer) string {
	var u unitRows
	for range 20 {
		m := []byte(d.member(&u))
		p, err := of(string(m))
		m[d.IntN(9)]++
		q, err2 := of(string(m))
		if err != nil || err2 != nil {
			continue
		}
		n := 0
		for i := range p {
			n += bits.OnesCount8(p[i] ^ q[i])
		}
		if n < 30 {
			return fmt.Sprintf("the pseudonyms of two ids that differ in one letter differ in %d of 128 bits", n)
		}
	}
	return ""
}

// panicking wraps a function so that it panics on some records.
func panicking(prepare prepareFunc, why func(*federated.Record) string) prepareFunc {
	return func(params json.RawMessage) (federated.Contribute, error) {
		inner, err := prepare(params)
		if err != nil {
			return nil, err
		}
		return func(r *federated.Record, emit func(string, int64)) {
			inner(r, emit)
			if len(r.Lines) > 1 {
				panic(why(r))
			}
		}, nil
	}
}

type prepareFunc = func(json.RawMessage) (federated.Contribute, error)

// spelled writes records out.
func spelled(all ...federated.Records) string {
	var b strings.Builder
	for _, rs := range all {
		if rs != nil {
			for r := range rs {
				fmt.Fprintf(&b, "%+v ", r)
			}
		}
	}
	return b.String()
}
