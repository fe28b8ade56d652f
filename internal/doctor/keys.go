package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// files is what was seen of the files that hold secrets.
type files struct {
	adminKey     fs.FileMode // of the generated key's file
	adminKeyErr  error
	adminKeySize int64
	open         []string // other keys' files that everybody may read
	// spelled says that the configuration's file has a secret in it and may be read
	// by everybody.
	spelled bool
}

const everybody = 0o004

func readFiles(cfg *config.Config, configFile string) *files {
	k := &files{}
	info, err := os.Stat(filepath.Join(cfg.DataDir, "admin-key"))
	if k.adminKeyErr = err; err == nil {
		k.adminKey, k.adminKeySize = info.Mode(), info.Size()
	}
	keys := []string{cfg.TLS.KeyFile}
	for _, u := range cfg.Upstreams {
		keys = append(keys, u.TLS.KeyFile)
	}
	for _, name := range keys {
		if name != "" && mayBeRead(name) {
			k.open = append(k.open, name)
		}
	}
	if configFile != "" && mayBeRead(configFile) {
		text, _ := os.ReadFile(configFile) // it was read before
		for _, secret := range secrets(cfg) {
			k.spelled = k.spelled || bytes.Contains(text, []byte(secret))
		}
	}
	return k
}

func mayBeRead(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().Perm()&everybody != 0
}

// secrets are the configuration's, as far as they are long enough to be looked
// for.
func secrets(cfg *config.Config) (found []string) {
	all := append([]string{cfg.Admin.APIKey}, cfg.ClientKeys...)
	for _, u := range cfg.Upstreams {
		for _, name := range u.SecretHeaders {
			all = append(all, u.Headers[name])
		}
	}
	for _, text := range []string{cfg.Batchlog.Database, cfg.Cache.L2.URL} {
		if u, err := url.Parse(text); err == nil {
			password, _ := u.User.Password()
			all = append(all, password)
		}
	}
	for _, secret := range all {
		if len(secret) >= 4 {
			found = append(found, secret)
		}
	}
	return found
}

func checkAdminKey(f *facts) []Result {
	path := filepath.Join(f.cfg.DataDir, "admin-key")
	const meaning = "the proxy does not start"
	k := f.files
	switch {
	case f.cfg.Admin.APIKey != "" && len(f.cfg.Admin.APIKey) < 16:
		return []Result{warning("admin.api_key is short", "it can be guessed", "take one of 32 random characters: openssl rand -base64 24")}
	case f.cfg.Admin.APIKey != "":
		return []Result{ok("admin.api_key is set")}
	case k == nil:
		return []Result{skipped("its file was not looked at in time")}
	case errors.Is(k.adminKeyErr, fs.ErrNotExist):
		return []Result{ok(path + " is made at the start")}
	case k.adminKeyErr != nil:
		return []Result{wrong(fmt.Sprintf("%s: %s", path, pathCause(k.adminKeyErr)), meaning, "give data_dir and all in it to the user that runs the proxy")}
	case !k.adminKey.IsRegular() || k.adminKeySize == 0:
		return []Result{wrong(path+" holds no key", meaning, "remove it: a new one is made at the start")}
	case k.adminKey.Perm()&0o077 != 0:
		return []Result{wrong(fmt.Sprintf("%s can be read by others (mode %04o)", path, k.adminKey.Perm()), meaning+", since who has the key can read conversations",
			"chmod 600 "+path+"; or remove it, and a new one is made, if somebody may have seen it")}
	}
	return []Result{ok(fmt.Sprintf("%s has mode %04o", path, k.adminKey.Perm()))}
}

func checkKeyFiles(f *facts) []Result {
	k := f.files
	switch {
	case k == nil:
		return []Result{skipped("they were not looked at in time")}
	case len(k.open) > 0:
		return []Result{warning("everybody may read "+some(k.open), "who has a private key can pose as its owner", "chmod 600, and give it to the user that runs the proxy (defaultMode: 0400 of a Secret)")}
	case k.spelled:
		return []Result{warning("everybody may read "+f.File+", and it has a secret in it", "other users of this machine see the secret",
			"chmod 600 the file, or write ${NAME} or file:PATH in place of the secret")}
	}
	return []Result{ok("no file with a secret can be read by everybody")}
}
