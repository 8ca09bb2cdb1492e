package main

import (
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	for _, row := range []struct {
		reason, events, skips, shared string
		ok                            bool
		last                          string
	}{
		{
			reason: "a test and its subtest",
			events: `{"Action":"pass","Package":"p","Test":"A/x"}{"Action":"pass","Package":"p","Test":"A"}{"Action":"pass","Package":"p"}`,
			ok:     true, last: "2 passed, 0 failed, 0 skipped",
		},
		{
			reason: "a package without tests is no skipped test, and no test ran",
			events: `{"Action":"skip","Package":"p"}`,
			last:   "0 passed, 0 failed, 0 skipped",
		},
		{
			reason: "a build that fails counts once",
			events: `{"Action":"pass","Package":"p","Test":"A"}{"Action":"build-fail","ImportPath":"q [q.test]"}{"Action":"fail","Package":"q","FailedBuild":"q [q.test]"}`,
			last:   "1 passed, 1 failed, 0 skipped",
		},
		{
			reason: "a failed test fails its package, which does not count again",
			events: `{"Action":"pass","Package":"p","Test":"A"}{"Action":"fail","Package":"p","Test":"B"}{"Action":"fail","Package":"p"}`,
			last:   "1 passed, 1 failed, 0 skipped",
		},
		{
			reason: "a skip that is not listed",
			events: `{"Action":"pass","Package":"p","Test":"A"}{"Action":"skip","Package":"p","Test":"B"}`,
			skips:  "q B another package\np A another test",
			last:   "1 passed, 0 failed, 1 skipped",
		},
		{
			reason: "a listed skip, by the name of its parent",
			events: `{"Action":"pass","Package":"p","Test":"A"}{"Action":"skip","Package":"p","Test":"B/x"}`,
			skips:  "# why\n\np B slow",
			ok:     true, last: "1 passed, 0 failed, 1 skipped",
		},
		{
			reason: "a skip for want of the shared data, where they are",
			events: `{"Action":"pass","Package":"p","Test":"A"}{"Action":"skip","Package":"p","Test":"B"}`,
			skips:  "p B LARDER_SHARED: reads data", shared: "/data",
			last: "1 passed, 0 failed, 1 skipped",
		},
		{
			reason: "a skip for want of the shared data, where they are not",
			events: `{"Action":"pass","Package":"p","Test":"A"}{"Action":"skip","Package":"p","Test":"B"}`,
			skips:  "p B LARDER_SHARED: reads data",
			ok:     true, last: "1 passed, 0 failed, 1 skipped",
		},
	} {
		t.Run(row.reason, func(t *testing.T) {
			allowed, err := parseSkips(strings.NewReader(row.skips))
			if err != nil {
				t.Fatal(err)
			}
			tally := tally{output: map[test]*strings.Builder{}}
			if err := tally.read(strings.NewReader(row.events)); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			ok := tally.report(&out, allowed, func(name string) string {
				if name == "LARDER_SHARED" {
					return row.shared
				}
				return ""
			})
			if ok != row.ok || !strings.HasSuffix("\n"+out.String(), "\n"+row.last+"\n") {
				t.Errorf("ok is %v, output:\n%s", ok, &out)
			}
		})
	}
}
