package batchlog

import (
	_ "embed"
	"fmt"
	"strings"
)

// The schemas. Each statement may run on a database that has it already.
var (
	//go:embed schema/sqlite.sql
	sqliteSchema string
	//go:embed schema/postgres.sql
	postgresSchema string
)

// DialectOf is the database that a configuration names, as Schema knows it.
func DialectOf(cfg Config) string {
	if cfg.Database == "" || strings.HasPrefix(cfg.Database, "sqlite:") {
		return "sqlite"
	}
	return "postgres"
}

// Schema returns the DDL for a database, "sqlite" or "postgres", for those who
// run it themselves.
func Schema(database string) (string, error) {
	switch database {
	case "sqlite":
		return sqliteSchema, nil
	case "postgres":
		return postgresSchema, nil
	}
	return "", fmt.Errorf("there is no schema for %q; write sqlite or postgres", database)
}
