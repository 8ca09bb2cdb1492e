//go:build !unix || solaris || aix

package register

import (
	"errors"
	"os"
)

func lock(*os.File) error {
	return errors.New("a register needs flock, which this system does not have")
}

func unlock(*os.File) error { return nil }
