//go:build !unix || solaris || aix

package ledger

import (
	"errors"
	"os"
)

func lock(*os.File) error {
	return errors.New("a file ledger needs flock, which this system does not have")
}
