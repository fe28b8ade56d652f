-- The conversation log of vega-proxy, version 1, for SQLite.
CREATE TABLE IF NOT EXISTS conversations (
    id                     TEXT PRIMARY KEY,
    request_id             TEXT,
    session_id             TEXT,
    started_at             TEXT NOT NULL, -- UTC, 2006-01-02T15:04:05.000000Z
    dialect                TEXT,
    endpoint               TEXT,
    upstream               TEXT,
    model                  TEXT,
    model_reported         TEXT,
    prompt                 TEXT,
    messages               TEXT, -- JSON
    params                 TEXT, -- JSON
    answer                 TEXT,
    reasoning              TEXT,
    tool_calls             TEXT, -- JSON
    choices                TEXT, -- JSON
    finish_reason          TEXT,
    prompt_tokens          INTEGER,
    completion_tokens      INTEGER,
    tokens_estimated       INTEGER NOT NULL,
    time_to_first_token_ms REAL,
    duration_ms            REAL NOT NULL,
    cache_status           TEXT,
    http_status            INTEGER NOT NULL,
    attempts               INTEGER NOT NULL,
    outcome                TEXT,
    ended_by               TEXT,
    error                  TEXT,
    streamed               INTEGER NOT NULL,
    truncated              INTEGER NOT NULL,
    incomplete             INTEGER NOT NULL,
    altered                INTEGER NOT NULL,
    dropped                INTEGER NOT NULL,
    revision               INTEGER NOT NULL,
    instance               TEXT,
    bytes_in               INTEGER NOT NULL,
    bytes_out              INTEGER NOT NULL,
    tenant                 TEXT
);
CREATE INDEX IF NOT EXISTS conversations_session ON conversations (session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS conversations_started ON conversations (started_at);
