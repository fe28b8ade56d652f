package config

import "github.com/spf13/pflag"

const flagUpstream = "upstream"

// flagKeys are the settings that have a flag of their own; --upstream stands
// for a whole list and is none of them.
var flagKeys = map[string]string{
	"listen":       "listen",
	"admin-listen": "admin.listen",
	"database":     "batchlog.database",
	"data-dir":     "data_dir",
	"log-level":    "log.level",
}

// Flags registers the flags that Load reads, and --config, whose value the
// caller hands to Load as the file.
func Flags(fs *pflag.FlagSet) {
	d := Default()
	fs.String("config", "", "read settings from this YAML `file`")
	fs.String("listen", d.Listen, "`address` of the proxy")
	fs.String("admin-listen", d.Admin.Listen, "`address` of the admin API and the dashboard")
	fs.String(flagUpstream, d.Upstreams[0].URL, "`URL` of the one upstream, in place of the configured list")
	fs.String("database", "", "where conversations are kept: sqlite:PATH or a postgres:// `URL` (default a SQLite file in the data directory)")
	fs.String("data-dir", d.DataDir, "`directory` of spool, embedded database, admin key and flight records")
	fs.String("log-level", d.Log.Level, "debug, info, warn or error")
}
