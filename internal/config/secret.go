package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// maxSecretBytes bounds what is read of a file: secret.
const maxSecretBytes = 64 * kib

var (
	reference = regexp.MustCompile(`\$\{([^}]*)\}`)
	envRule   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// credentialHeaders are secret whatever their value looks like.
var credentialHeaders = []string{"Authorization", "X-Api-Key", "Api-Key"}

// resolveSecrets replaces ${NAME} and file:PATH by what they stand for,
// wherever a secret may stand. What cannot be resolved is reported and
// left as it is written.
func (c *Config) resolveSecrets(env map[string]string) Problems {
	var ps Problems
	resolve := func(path string, value *string) (secret bool) {
		if file, ok := strings.CutPrefix(*value, "file:"); ok {
			c.secretFiles = append(c.secretFiles, file)
		}
		v, secret, err := resolveSecret(*value, env)
		if err != nil {
			ps.add(path, "%v", err)
			return true
		}
		*value = v
		return secret
	}
	for i := range c.ClientKeys {
		resolve(item("client_keys", i), &c.ClientKeys[i])
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		for _, name := range slices.Sorted(maps.Keys(u.Headers)) {
			value := u.Headers[name]
			if resolve(headerPath(i, name), &value) || slices.Contains(credentialHeaders, name) {
				u.SecretHeaders = append(u.SecretHeaders, name)
			}
			u.Headers[name] = value
		}
	}
	resolve("batchlog.database", &c.Batchlog.Database)
	resolve("cache.l2.url", &c.Cache.L2.URL)
	resolve("admin.api_key", &c.Admin.APIKey)
	return ps
}

// resolveSecret is the text that a written value stands for, and whether it
// came from elsewhere. Its errors name the source and never the secret.
func resolveSecret(written string, env map[string]string) (value string, secret bool, err error) {
	if path, ok := strings.CutPrefix(written, "file:"); ok {
		data, err := readBounded(path, maxSecretBytes)
		if err != nil {
			return "", true, fmt.Errorf("its file %s %w", path, err)
		}
		value = strings.TrimRight(string(data), "\r\n")
		if value == "" {
			return "", true, fmt.Errorf("its file %s is empty; write the secret into it", path)
		}
		return value, true, nil
	}
	var errs []error
	value = reference.ReplaceAllStringFunc(written, func(ref string) string {
		name := reference.FindStringSubmatch(ref)[1]
		switch {
		case !envRule.MatchString(name):
			errs = append(errs, errors.New("${…} does not hold the name of an environment variable; write ${NAME}"))
		case env[name] == "":
			errs = append(errs, fmt.Errorf("the environment variable %s is not set or empty; set it, or remove the setting", name))
		}
		return env[name]
	})
	if strings.Count(written, "${") > len(reference.FindAllString(written, -1)) {
		errs = append(errs, errors.New("${ is not closed; write ${NAME}"))
	}
	if len(errs) > 0 {
		return "", true, errs[0]
	}
	return value, reference.MatchString(written), nil
}

const masked = "***"

// maskText hides a secret but not whether there is one.
func maskText(s string) string {
	if s == "" {
		return ""
	}
	return masked
}

// maskURL hides the password of a database or Redis URL, in its user part and
// in its parameters, and everything of a URL that cannot be taken apart.
func maskURL(s string) string {
	scheme, _, isURL := strings.Cut(s, "://")
	if !isURL {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return scheme + "://" + masked
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(strings.ToLower(name), "password") {
			query.Set(name, "xxxxx")
			u.RawQuery = query.Encode()
		}
	}
	return u.Redacted()
}

// hideSecrets is a copy to show: with every secret masked.
func (c *Config) hideSecrets() Config {
	shown := *c
	shown.ClientKeys = slices.Clone(c.ClientKeys)
	for i, key := range shown.ClientKeys {
		shown.ClientKeys[i] = maskText(key)
	}
	shown.Upstreams = slices.Clone(c.Upstreams)
	for i := range shown.Upstreams {
		u := &shown.Upstreams[i]
		u.Headers = maps.Clone(u.Headers)
		for _, name := range u.SecretHeaders {
			u.Headers[name] = maskText(u.Headers[name])
		}
	}
	shown.Admin.APIKey = maskText(c.Admin.APIKey)
	shown.Batchlog.Database = maskURL(c.Batchlog.Database)
	shown.Cache.L2.URL = maskURL(c.Cache.L2.URL)
	return shown
}
