//go:build unix && !solaris && !aix

package register

import (
	"errors"
	"os"
	"syscall"
)

// lock holds until f is closed or the process ends, however it ends.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

// unlock gives the lock back at once: closing alone does not while a process that is just
// being started still has a copy of the file.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
