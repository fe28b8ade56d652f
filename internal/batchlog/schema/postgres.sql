-- The conversation log of vega-proxy, version 1, for PostgreSQL 12 and later.
-- Its names are found by search_path, so that it may have a schema of its own.
CREATE TABLE IF NOT EXISTS conversations (
    id                     uuid PRIMARY KEY,
    request_id             text,
    session_id             text,
    started_at             timestamptz NOT NULL,
    dialect                text,
    endpoint               text,
    upstream               text,
    model                  text,
    model_reported         text,
    prompt                 text,
    messages               json,
    params                 json,
    answer                 text,
    reasoning              text,
    tool_calls             json,
    choices                json,
    finish_reason          text,
    prompt_tokens          bigint,
    completion_tokens      bigint,
    tokens_estimated       boolean NOT NULL,
    time_to_first_token_ms double precision,
    duration_ms            double precision NOT NULL,
    cache_status           text,
    http_status            bigint NOT NULL,
    attempts               bigint NOT NULL,
    outcome                text,
    ended_by               text,
    error                  text,
    streamed               boolean NOT NULL,
    truncated              boolean NOT NULL,
    incomplete             boolean NOT NULL,
    altered                boolean NOT NULL,
    dropped                bigint NOT NULL,
    revision               bigint NOT NULL,
    instance               text,
    bytes_in               bigint NOT NULL,
    bytes_out              bigint NOT NULL,
    tenant                 text
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX IF NOT EXISTS conversations_session ON conversations (session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS conversations_started ON conversations USING brin (started_at);
-- How many rows of a data directory others deleted by retention, until its own proxy has counted them.
CREATE TABLE IF NOT EXISTS conversations_retired (
    instance text PRIMARY KEY,
    retired  bigint NOT NULL
);
