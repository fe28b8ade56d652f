package batchlog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Instance is the name under which a data directory's rows are in the sink: that
// of the machine where the directory was made, with a few letters of its own, since
// a machine may have several or lose one and make another. It is kept there: the
// balance of the log goes over the life of the directory, and containers get a new
// name with every start.
func Instance(dataDir string) (string, error) {
	name, err := readInstance(dataDir)
	if err != nil || name != "" {
		return name, err
	}
	if name, err = os.Hostname(); err != nil {
		return "", fmt.Errorf("the name of this machine: %w", err)
	}
	name += "-" + strings.ToLower(rand.Text()[:6])
	if err := os.WriteFile(filepath.Join(dataDir, instanceFile), []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the name of this machine: %w", err)
	}
	return name, nil
}

const instanceFile = "instance"

// readInstance returns "" where no name is kept.
func readInstance(dataDir string) (string, error) {
	kept, err := os.ReadFile(filepath.Join(dataDir, instanceFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the name of this machine: %w", err)
	}
	return strings.TrimSpace(string(kept)), nil
}
