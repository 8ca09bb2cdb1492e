package fedtest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/ascii85"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/larder-dp/larder/federated"
)

// The builds of NoLeaks and Pseudonyms: what names somebody.
var leakSabotages = []sabotage{
	{"raw member id in a refusal", cwe209, "NoLeaks", func() Config {
		return refusing(func(n *bentNode, r *refusal) { r.Asked += strings.Join(n.members(), ",") })
	}},
	{"unsalted hash of the id in a refusal", cwe759, "NoLeaks", func() Config {
		return refusing(func(n *bentNode, r *refusal) {
			for _, m := range n.members() {
				h := md5.Sum([]byte(m))
				r.Accepts += " " + base64.RawURLEncoding.EncodeToString(h[:])
			}
		})
	}},
	{"raw member id on the wire", "debug field left in a message", "NoLeaks", func() Config {
		return reporting(func(n *bentNode, r *report) []byte {
			return append(r.encode(), zipped([]byte(strings.Join(n.members(), ";")))...)
		})
	}},
	{"pseudonym in a log", "linkable across queries", "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, m := range n.members() {
				p, _ := n.c.Pseudonym(m)
				n.c.Log.Info("seen", "member", hex.EncodeToString(p[:]))
			}
		})
	}},
	{"canary in an error", cwe209, "NoLeaks", func() Config {
		return bend(func(n *bentNode) {
			n.after = func(_, b []byte, err error) ([]byte, error) {
				if err == nil {
					return b, nil
				}
				return nil, fmt.Errorf("%w: last row was %v", err, all(n.c.Lists, n.c.Sales))
			}
		})
	}},
	{"member in a log attribute", cwe532, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				n.c.Log.WithGroup("row").Debug("read", "record", struct{ R federated.Record }{r})
			}
		})
	}},
	{"times of records in a log", cwe532, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				if !r.Time.IsZero() {
					n.c.Log.Info("row", "at", r.Time.UnixMilli())
				}
			}
		})
	}},
	{"canary in a panic", cwe209, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				panic(r)
			}
		})
	}},
	{"member as the label of a metric", owasp, "NoLeaks", func() Config {
		return metered(func(r *registry) Config {
			return observing(func(n *bentNode) {
				for _, x := range all(n.c.Lists, n.c.Sales) {
					r.set("rows_total{id=%q} 1", strings.ToLower(x.ID))
				}
			})
		})
	}},
	{"records cached in a compressed file", cwe532, "NoLeaks", func() Config {
		return spool(func(write func(string, []byte)) Config {
			return observing(func(n *bentNode) {
				write(string(n.c.ID)+".cache", zipped([]byte(base64.StdEncoding.EncodeToString([]byte(asJSON(all(n.c.Lists, n.c.Sales)))))))
			})
		})
	}},
	{"file named after a hash of the list id", cwe759, "NoLeaks", func() Config {
		return spool(func(write func(string, []byte)) Config {
			return observing(func(n *bentNode) {
				for _, x := range all(n.c.Lists, n.c.Sales) {
					h := sha256.Sum256([]byte(x.ID))
					write(hex.EncodeToString(h[:8]), nil)
				}
			})
		})
	}},
	{"a node's key in a log", "CWE-532: secrets in logs", "NoLeaks", func() Config {
		return observing(func(n *bentNode) { n.c.Log.Info("config", "secret", fmt.Sprint(n.c.Secret)) })
	}},
	{"pseudonym as a number in a log", "linkable across queries", "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, m := range n.members() {
				p, _ := n.c.Pseudonym(m)
				n.c.Log.Warn("member", "id", binary.LittleEndian.Uint64(p[8:]))
			}
		})
	}},
	{"list ids in HTML entities", cwe532, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				var b strings.Builder
				for _, c := range r.ID {
					fmt.Fprintf(&b, "&#%d;", c)
				}
				n.c.Log.Info("row", "x", b.String())
			}
		})
	}},
	{"the largest quantity in a metric", owasp, "NoLeaks", func() Config {
		return metered(func(r *registry) Config {
			return observing(func(n *bentNode) {
				var total int64
				for _, x := range all(n.c.Lists, n.c.Sales) {
					for _, l := range x.Lines {
						total = max(total, l.Quantity)
					}
				}
				r.set("basket_max{store=%q} %g", n.c.ID, float64(total))
			})
		})
	}},
	{"unsalted hash as pseudonym", cwe759, "Pseudonyms", func() Config {
		return Config{Pseudonym: func(string) (func(string) ([16]byte, error), error) {
			return func(m string) (p [16]byte, err error) {
				h := sha256.Sum256([]byte(m))
				return [16]byte(h[:16]), nil
			}, nil
		}}
	}},
	{"hash with a public salt as pseudonym", cwe759, "Pseudonyms", func() Config {
		return Config{Pseudonym: func(string) (func(string) ([16]byte, error), error) {
			return func(m string) (p [16]byte, err error) {
				h := sha256.Sum256([]byte("grocery-2031:" + m))
				return [16]byte(h[16:]), nil
			}, nil
		}}
	}},
	{"pseudonym cut to 16 bits", "membership ids of 5 hex digits: namesakes merged", "Pseudonyms", func() Config {
		return pseudonymous(func(m string, inner func(string) ([16]byte, error)) (p [16]byte, err error) {
			full, err := inner(m)
			copy(p[:2], full[:])
			return p, err
		})
	}},
	{"pseudonym of 20 bits, stretched", "a hash kept as a short number, and hashed again: namesakes merged", "Pseudonyms", func() Config {
		return pseudonymous(func(m string, inner func(string) ([16]byte, error)) ([16]byte, error) {
			full, err := inner(m)
			full[2] &= 15
			h := sha256.Sum256(full[:3])
			return [16]byte(h[:16]), err
		})
	}},
	{"pseudonym of what stands before the sign", "hashed e-mails: the domain, or a number after a name, is cut off", "Pseudonyms", func() Config {
		return pseudonymous(func(m string, inner func(string) ([16]byte, error)) ([16]byte, error) {
			if at := strings.IndexAny(m, "@_"); at > 0 {
				m = m[:at]
			}
			return inner(m)
		})
	}},
	{"an odd id in hex in its error", cwe209, "Pseudonyms", func() Config {
		return pseudonymous(func(m string, inner func(string) ([16]byte, error)) ([16]byte, error) {
			if strings.ContainsFunc(m, func(r rune) bool { return r > unicode.MaxASCII }) {
				return [16]byte{}, fmt.Errorf("id %x is not ASCII", m)
			}
			return inner(m)
		})
	}},
	{"pseudonym is the id under a one-time pad", "a pad used twice", "Pseudonyms", func() Config {
		return Config{Pseudonym: func(epoch string) (func(string) ([16]byte, error), error) {
			key := sha256.Sum256([]byte("secret" + epoch))
			return func(m string) (p [16]byte, err error) {
				copy(p[:], m)
				for i := range p {
					p[i] ^= key[i]
				}
				return p, nil
			}, nil
		}}
	}},
	{"salted with the epoch, which is public", cwe759, "Pseudonyms", func() Config {
		return Config{Pseudonym: func(epoch string) (func(string) ([16]byte, error), error) {
			return func(m string) (p [16]byte, err error) {
				h := hmac.New(sha1.New, []byte(epoch))
				h.Write([]byte(m))
				copy(p[:], h.Sum(nil))
				return p, nil
			}, nil
		}}
	}},
	{"a member in two attributes", cwe532, "NoLeaks", func() Config {
		return noting(func(n *bentNode, m string) { n.c.Log.Debug("asked", "first", m[:len(m)/2], "last", m[len(m)/2:]) })
	}},
	{"a member in lines of base64", "RFC 2045 §6.8: lines of 76 letters", "NoLeaks", func() Config {
		return noting(func(n *bentNode, m string) {
			s := base64.StdEncoding.EncodeToString([]byte("of " + m))
			n.c.Log.Debug(s[:9] + "\r\n" + s[9:])
		})
	}},
	{"a member as quoted-printable", "RFC 2045 §6.7", "NoLeaks", func() Config {
		return noting(func(n *bentNode, m string) {
			n.c.Log.Debug(strings.ToUpper(strings.ReplaceAll(fmt.Sprintf(" % x", m), " ", "=")))
		})
	}},
	{"a member as Go prints bytes", "fmt: %#v of a []byte", "NoLeaks", func() Config {
		return noting(func(n *bentNode, m string) { n.c.Log.Debug(fmt.Sprintf("%#v", []byte(m))) })
	}},
	{"a member in octal escapes", "C strings in a trace", "NoLeaks", func() Config {
		return noting(func(n *bentNode, m string) {
			var b strings.Builder
			for i := range len(m) {
				fmt.Fprintf(&b, `\%03o`, m[i])
			}
			n.c.Log.Debug(b.String())
		})
	}},
	{"a member in ASCII 85", "encoding/ascii85", "NoLeaks", func() Config {
		return noting(func(n *bentNode, m string) {
			b := make([]byte, ascii85.MaxEncodedLen(len(m)+1))
			n.c.Log.Debug(string(b[:ascii85.Encode(b, []byte("m"+m))]))
		})
	}},
	{"a member in letters apart", "a mask that masks nothing", "NoLeaks", func() Config {
		return noting(func(n *bentNode, m string) { n.c.Log.Debug(strings.Join(strings.Split(m, ""), "-")) })
	}},
	{"a time on the store's clock, to the minute", cwe532, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				if !r.Time.IsZero() {
					n.c.Log.Debug(r.Time.Format("2006-01-02 15:04"))
				}
			}
		})
	}},
	{"a time in another zone", cwe532, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				if !r.Time.IsZero() {
					n.c.Log.Debug(r.Time.In(time.FixedZone("", 2*3600)).Format(time.RFC1123Z))
				}
			}
		})
	}},
	{"the epoch is one byte of the pseudonym", "an identifier with a version in it", "Pseudonyms", func() Config {
		return naming(func(epoch, m string) []byte { return append(under("a secret", m)[:15], under("a secret", epoch)[0]) })
	}},
	{"pseudonyms of an epoch under a pad of its own", "a pad used twice", "Pseudonyms", func() Config {
		return naming(func(epoch, m string) []byte {
			p := under("a secret", m)
			subtle.XORBytes(p, p, under("another", epoch))
			return p
		})
	}},
	{"pseudonyms turned by the epoch", "obfuscation by permutation", "Pseudonyms", func() Config {
		return naming(func(epoch, m string) []byte {
			p, n := under("a secret", m)[:16], 1+int(under("a secret", epoch)[0])%15
			return slices.Concat(p[n:], p[:n])
		})
	}},
	{"the first letters kept", "identifiers that support can read", "Pseudonyms", func() Config {
		return naming(func(epoch, m string) []byte { return append([]byte(m[:3]), under("a secret"+epoch, m)...) })
	}},
	{"ids cut at 32 bytes", "VARCHAR(32)", "Pseudonyms", func() Config {
		return naming(func(epoch, m string) []byte { return under("a secret"+epoch, m[:min(len(m), 32)]) })
	}},
}

// noting writes of a member whenever a node has reported.
func noting(write func(n *bentNode, member string)) Config {
	return observing(func(n *bentNode) {
		for _, m := range n.members() {
			if len(m) > 8 && len(m) < 64 {
				write(n, m)
				return
			}
		}
	})
}

// naming makes pseudonyms by of.
func naming(of func(epoch, member string) []byte) Config {
	return Config{Pseudonym: func(epoch string) (func(string) ([16]byte, error), error) {
		return func(m string) (p [16]byte, err error) {
			if len(m) > 128 || m == "" {
				return p, errors.New("malformed id")
			}
			copy(p[:], of(epoch, m+"   "))
			return p, nil
		}, nil
	}}
}

func under(key, text string) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// pseudonymous bends a keyed pseudonym.
func pseudonymous(bend func(m string, inner func(string) ([16]byte, error)) ([16]byte, error)) Config {
	return Config{Pseudonym: func(epoch string) (func(string) ([16]byte, error), error) {
		inner, err := keyedPseudonym(epoch)
		return func(m string) ([16]byte, error) { return bend(m, inner) }, err
	}}
}
