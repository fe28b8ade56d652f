package config

import (
	"cmp"
	"crypto/sha256"
)

// pemFile is a file of certificates or of a key as it was when it was read.
type pemFile struct {
	path     string // of its setting
	upstream string // whose it is; "" is the listener's
	key      string // its setting's name in the section
	file     string
	sum      [sha256.Size]byte
}

// readPEMs notes what the files of certificates hold, so that Diff can tell that
// one was renewed in its place.
func (c *Config) readPEMs() {
	note := func(section, upstream, key, file string) {
		data, err := readBounded(file, mib)
		if file == "" || err != nil { // a check has said so, or will
			return
		}
		c.pems = append(c.pems, pemFile{join(section, key), upstream, key, file, sha256.Sum256(data)})
	}
	note("tls", "", "cert_file", c.TLS.CertFile)
	note("tls", "", "key_file", c.TLS.KeyFile)
	for i, u := range c.Upstreams {
		section := join(item("upstreams", i), "tls")
		note(section, u.Name, "ca_file", u.TLS.CAFile)
		note(section, u.Name, "cert_file", u.TLS.CertFile)
		note(section, u.Name, "key_file", u.TLS.KeyFile)
	}
}

// renewed lists the files of new whose content is another than in old.
func renewed(old, new *Config) (files []pemFile) {
	for _, f := range new.pems {
		for _, before := range old.pems {
			if cmp.Or(cmp.Compare(before.upstream, f.upstream), cmp.Compare(before.key, f.key), cmp.Compare(before.file, f.file)) == 0 && before.sum != f.sum {
				files = append(files, f)
			}
		}
	}
	return files
}

// Files are those beside the configuration file that were read for it: of secrets
// and of certificates.
func (c *Config) Files() []string {
	files := append([]string{}, c.secretFiles...)
	for _, f := range c.pems {
		files = append(files, f.file)
	}
	return files
}
