package batchlog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const keySize = 32

// openKey reads the key of the hashes from the data directory, and makes it
// where there is none. Whoever has it can test guesses at what was hashed.
func openKey(dataDir string) ([]byte, error) {
	name := filepath.Join(dataDir, "log.key")
	key, err := os.ReadFile(name)
	switch {
	case err == nil && len(key) == keySize:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("the log's key %s has %d bytes, not %d; restore it, or remove it so that a new one is made, with which equal texts no longer have the hashes they had", name, len(key), keySize)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read the log's key: %w", err)
	}
	key = make([]byte, keySize)
	rand.Read(key) // it never fails
	// Under another name first: half a key would be refused from then on.
	next := name + ".new"
	if err := os.WriteFile(next, key, 0o600); err != nil {
		return nil, fmt.Errorf("write the log's key: %w", err)
	}
	if err := os.Rename(next, name); err != nil {
		return nil, fmt.Errorf("write the log's key: %w", err)
	}
	return key, nil
}
