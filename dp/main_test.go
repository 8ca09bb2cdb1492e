package dp

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(failingRNG) != "" {
		drawFromFailingGoogle()
	}
	// Google's library logs to files in the temporary folder otherwise.
	_ = flag.Set("logtostderr", "true")
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}
