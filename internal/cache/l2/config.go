package l2

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config is the section `cache.l2`; an empty URL is off.
type Config struct {
	URL string `mapstructure:"url"`
	// Timeout is how long a request may wait for a lookup.
	Timeout time.Duration `mapstructure:"timeout"`
}

// CheckURL says what is wrong with a URL, and shows nothing of it.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "redis" && u.Scheme != "rediss", u.Hostname() == "":
		return errors.New("is not a URL with redis or rediss and a host; write for example redis://HOST, and %-encode special characters of the password")
	case u.RawQuery != "", u.ForceQuery, strings.Contains(text, "#"):
		return errors.New("has a query or a fragment; remove everything from ? or # on")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("has an impossible port; write 1 to 65535")
		}
	}
	if db := strings.Trim(u.Path, "/"); db != "" {
		if n, err := strconv.Atoi(db); err != nil || n < 0 {
			return errors.New("has a path that is no number of a database; write for example redis://HOST/0")
		}
	}
	return nil
}

const (
	dialTimeout  = time.Second // of the background; a request waits for its timeout only
	writeTimeout = time.Second
)

// connect returns a client that has not dialled yet.
func connect(cfg Config) (*redis.Client, error) {
	if err := CheckURL(cfg.URL); err != nil {
		return nil, errors.New("its URL " + err.Error())
	}
	opts, err := redis.ParseURL(cfg.URL)
	if err != nil { // it may show the URL
		return nil, errors.New("its URL cannot be read")
	}
	silence()
	opts.Protocol = 2
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	// Each call has its own deadline, and what failed is not tried again.
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.DialTimeout = dialTimeout
	opts.PoolTimeout = max(cfg.Timeout, writeTimeout)
	opts.ConnMaxIdleTime = 5 * time.Minute
	return redis.NewClient(opts), nil
}

// silence keeps the library from writing lines of its own: its errors come back
// from calls, and the breaker's changes are logged.
var silence = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
