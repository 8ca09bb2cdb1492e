package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/ledger"
	"github.com/larder-dp/larder/pseudonym"
)

// openLedger opens the file of -ledger, or makes it if it is not there yet.
// Without the flag the ledger ends with the run.
func openLedger(o options) (dp.Ledger, error) {
	if o.ledger == "" {
		return dp.NewMemoryLedger(dp.Budget{Epsilon: o.epsilon, Delta: o.delta})
	}
	l, err := ledger.Open(o.ledger, ledger.Config{})
	if errors.Is(err, fs.ErrNotExist) {
		l, err = ledger.Create(o.ledger, ledger.Config{Budget: o.ledgerBudget, Rule: o.ledgerRule})
	} else if err == nil {
		err = o.sameLedger(l)
	}
	if err != nil {
		return nil, fmt.Errorf("-ledger %s: %w", o.ledger, err)
	}
	return l, nil
}

// sameLedger refuses a ledger that was made with another budget or rule than the flags name.
func (o options) sameLedger(l *ledger.File) error {
	is, err := l.Report(context.Background(), "any", "any") // every epoch has the same
	if err == nil {
		for _, name := range o.ledgerFlags {
			if (name == "ledger-epsilon" && o.ledgerBudget.Epsilon != is.Budget.Epsilon) ||
				(name == "ledger-delta" && o.ledgerBudget.Delta != is.Budget.Delta) ||
				(name == "ledger-rule" && o.ledgerRule.Name != is.Rule.String()) ||
				(name == "ledger-delta-apart" && o.ledgerRule.DeltaApart != is.Rule.DeltaApart) {
				err = errors.Join(err, fmt.Errorf("-%s is not what it was created with: ε=%g δ=%g by rule %s: leave the flag out to take the ledger as it is, or give another file",
					name, is.Budget.Epsilon, is.Budget.Delta, is.Rule))
			}
		}
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// close gives the file of -ledger back.
func (c *chain) close() error {
	if l, ok := c.ledger.(io.Closer); ok {
		return l.Close()
	}
	return nil
}

// secrets are the key of the pseudonyms and the nodes' secret, from which
// bounding chooses what it keeps. With -ledger they are kept beside the file:
// one epoch has one choice, or else the same release would be compared with
// another truth at each run.
func secrets(o options, epoch string) (keys pseudonym.Keys, secret [32]byte, err error) {
	if o.ledger != "" {
		if keys, secret, err = readSecrets(secretsPath(o)); err == nil && hasKey(keys, epoch) {
			return keys, secret, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return keys, secret, fmt.Errorf("read %s: %w", secretsPath(o), err)
		}
	}
	if secret == [32]byte{} {
		_, _ = rand.Read(secret[:])
	}
	if keys, err = keys.Create("demand", epoch); err != nil {
		return keys, secret, fmt.Errorf("make pseudonym keys: %w", err)
	}
	if o.ledger == "" {
		return keys, secret, nil
	}
	b, err := keys.Export()
	if err == nil {
		err = writeSecrets(secretsPath(o), append(secret[:len(secret):len(secret)], b...))
	}
	if err != nil {
		return keys, secret, fmt.Errorf("keep the keys of -ledger: %w", err)
	}
	return keys, secret, nil
}

func readSecrets(name string) (keys pseudonym.Keys, secret [32]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return keys, secret, err
	}
	defer f.Close()
	b, err := pseudonym.ReadSecret(f)
	if err != nil {
		return keys, secret, err
	}
	keys, err = pseudonym.Parse(b[copy(secret[:], b):])
	return keys, secret, err
}

// writeSecrets leaves the old file or the new one.
func writeSecrets(name string, b []byte) error {
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func hasKey(keys pseudonym.Keys, epoch string) bool {
	return slices.Contains(keys.Scopes(), pseudonym.ScopeInfo{Purpose: "demand", Epoch: epoch, Status: pseudonym.Enabled})
}

func secretsPath(o options) string { return o.ledger + ".keys" }

// affordable refuses a run of which the ledger does not cover all questions that
// it has no answer to yet, and says which -epsilon and -delta it would cover.
func (c *chain) affordable(ctx context.Context) error {
	if c.o.ledger == "" {
		return nil
	}
	var open []*ask
	for _, a := range c.asks() {
		_, err := c.ledger.Lookup(ctx, a.query.Charge().Key)
		switch {
		case errors.Is(err, dp.ErrNotCharged):
			open = append(open, a)
		case err != nil:
			return err
		}
	}
	run := c.charge(open)
	err := c.ledger.(checker).Check(ctx, run)
	var over *dp.BudgetError
	if !errors.As(err, &over) {
		return err
	}
	delta := c.o.delta
	if over.Largest.Delta < run.Cost.Delta {
		delta *= over.Largest.Delta / run.Cost.Delta
	}
	if over.Largest.Delta == 0 && run.Cost.Delta > 0 && over.Largest.Epsilon >= leastEpsilon {
		return fmt.Errorf("-ledger %s: %w: nothing of δ is left for what has a δ of its own: -mechanism discrete_gaussian needs none under -ledger-rule zcdp, discrete_laplace needs none at all, and a new ledger can set some apart with -ledger-delta-apart",
			c.o.ledger, err)
	}
	if over.Largest.Epsilon >= leastEpsilon {
		return fmt.Errorf("-ledger %s: %w: -epsilon %g -delta %g would pass, and what was asked before is free",
			c.o.ledger, err, over.Largest.Epsilon, delta)
	}
	return fmt.Errorf("-ledger %s: %w: it is spent, and only what was asked before is answered, for free", c.o.ledger, err)
}

// A checker is a ledger that says what it would refuse; ledger.File is one.
type checker interface {
	Check(context.Context, dp.Charge) error
}

// charge is what several questions cost together the unit that the run protects.
func (c *chain) charge(asks []*ask) dp.Charge {
	var cost dp.Spent
	out := dp.Charge{Key: dp.Key{Epoch: c.world.Epoch, Round: 1}, Unit: string(c.world.Unit)}
	for _, a := range asks {
		each := a.query.Charge()
		cost.Add(each)
		out.Events = append(out.Events, each.Events...)
	}
	out.Cost = cost.Total(dp.Budget{})
	return out
}

// ledgerWords says what is left, for the owner of the data.
func (c *chain) ledgerWords() string {
	more := "no other run like this one fits"
	if c.more > 0 {
		more = fmt.Sprintf("%s more like this one fit, asked anew with -round", group(c.more))
	}
	if c.o.ledgerRule.Name == "zcdp" {
		more += ". By its rule, zcdp, what is left is told for a question without Gaussian noise: one with it costs less than its ε"
	}
	return fmt.Sprintf("The ledger %s has ε = %s, δ = %s left for this epoch: %s. The same question again costs nothing.",
		filepath.Base(c.o.ledger), number(c.left.Epsilon), number(c.left.Delta), more)
}
