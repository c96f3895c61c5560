-- The whole schema, as the migrations make it; tests prove them equal.
-- Session keys stay below 2^31 and entry numbers below 2^32, so one integer names an entry, sorts a journal and
-- costs a few bytes: id = session << 32 | seq.

CREATE TABLE schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
);

CREATE TABLE sessions (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    parent_id TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('root', 'subagent')),
    lifecycle TEXT NOT NULL CHECK (lifecycle IN ('ephemeral', 'linked', 'detached')),
    depth INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    base_seq INTEGER NOT NULL,
    base_digest BLOB NOT NULL,
    head_seq INTEGER NOT NULL CHECK (head_seq >= base_seq),
    head_digest BLOB NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    lease_owner TEXT,
    lease_wall_ms INTEGER,
    lease_boot_id TEXT,
    lease_boot_ms INTEGER,
    config TEXT NOT NULL,
    metadata TEXT NOT NULL,
    anchor_seq INTEGER,
    anchor_digest BLOB
);

CREATE INDEX sessions_by_parent ON sessions (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    run INTEGER NOT NULL,
    round INTEGER NOT NULL,
    time INTEGER NOT NULL,
    body TEXT NOT NULL,
    digest BLOB NOT NULL,
    body_digest BLOB
);

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('input', 'cancel')),
    run INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE INDEX inbox_by_session ON inbox (session, id);

CREATE TABLE blobs (
    digest BLOB PRIMARY KEY NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE blob_refs (
    session INTEGER NOT NULL,
    blob BLOB NOT NULL,
    PRIMARY KEY (session, blob)
) WITHOUT ROWID;

CREATE INDEX blob_refs_by_blob ON blob_refs (blob);

CREATE VIEW journal AS
SELECT
    s.id AS session_id,
    e.id & 4294967295 AS seq,
    e.kind,
    e.version,
    e.run,
    e.round AS round_index,
    e.time AS created_at,
    e.body,
    CASE WHEN json_valid(e.body) THEN e.body ELSE '{}' END AS fact,
    hex(e.digest) AS digest
FROM entries AS e JOIN sessions AS s ON s.key = e.id >> 32;

CREATE VIEW messages AS
SELECT
    session_id,
    seq,
    kind,
    CASE
        WHEN kind IN ('model_replied', 'reply_edited') THEN 'assistant'
        WHEN kind IN ('tool_finished', 'result_edited') THEN 'tool'
        ELSE coalesce(json_extract(fact, '$.role'), 'user')
    END AS role,
    json_extract(fact, '$.name') AS name,
    CASE coalesce(json_type(fact, '$.content'), json_type(fact, '$.text'))
        WHEN 'text' THEN coalesce(json_extract(fact, '$.content'), json_extract(fact, '$.text'))
        WHEN 'array' THEN coalesce((
            SELECT group_concat(json_extract(block.value, '$.text'), '')
            FROM json_each(fact, '$.content') AS block
            WHERE json_extract(block.value, '$.type') = 'text'
        ), '')
        ELSE ''
    END AS content,
    json_extract(fact, '$.calls') AS tool_calls_json,
    json_extract(fact, '$.call') AS tool_call_id,
    json_extract(fact, '$.target') AS edits_seq,
    run,
    round_index,
    created_at
FROM journal
WHERE kind IN ('input_received', 'model_replied', 'reply_edited', 'tool_finished', 'result_edited', 'note');

CREATE VIEW tool_calls AS
SELECT
    session_id,
    call_id,
    max(reply_seq) AS reply_seq,
    max(wire_id) AS wire_id,
    max(name) AS name,
    max(arguments_json) AS arguments_json,
    max(raw_arguments) AS raw_arguments,
    max(effect) AS effect,
    max(attempt) AS attempts,
    max(outcome) AS outcome,
    max(result) AS result,
    max(started_at) AS started_at,
    max(finished_at) AS finished_at
FROM (
    SELECT
        j.session_id, 'call_' || j.seq || '_' || c.key AS call_id, j.seq AS reply_seq,
        json_extract(c.value, '$.id') AS wire_id, json_extract(c.value, '$.name') AS name,
        coalesce(json_extract(c.value, '$.arguments'), '{}') AS arguments_json,
        json_extract(c.value, '$.raw') AS raw_arguments, NULL AS effect, NULL AS attempt, NULL AS outcome,
        NULL AS result, NULL AS started_at, NULL AS finished_at
    FROM journal AS j, json_each(j.fact, '$.calls') AS c
    WHERE j.kind = 'model_replied'
    UNION ALL
    SELECT
        session_id, json_extract(fact, '$.call'), NULL, NULL, json_extract(fact, '$.name'), NULL, NULL,
        coalesce(json_extract(fact, '$.effect'), 'once'), coalesce(json_extract(fact, '$.attempt'), 1), NULL,
        NULL, created_at, NULL
    FROM journal WHERE kind = 'tool_started'
    UNION ALL
    SELECT
        session_id, json_extract(fact, '$.call'), NULL, NULL, json_extract(fact, '$.name'), NULL, NULL,
        NULL, NULL, coalesce(json_extract(fact, '$.outcome'), 'ok'),
        coalesce(json_extract(fact, '$.content'), ''), NULL, created_at
    FROM journal WHERE kind = 'tool_finished'
)
GROUP BY session_id, call_id;

CREATE VIEW usage_rounds AS
SELECT
    session_id,
    seq,
    run,
    round_index,
    coalesce(json_extract(fact, '$.usage.input_tokens'), 0) AS prompt_tokens,
    coalesce(json_extract(fact, '$.usage.output_tokens'), 0) AS completion_tokens,
    coalesce(json_extract(fact, '$.usage.cache_read_tokens'), 0) AS cache_read_tokens,
    coalesce(json_extract(fact, '$.usage.cache_write_tokens'), 0) AS cache_write_tokens,
    coalesce(json_extract(fact, '$.usage.reasoning_tokens'), 0) AS reasoning_tokens,
    coalesce(json_extract(fact, '$.usage.input_tokens'), 0)
    + coalesce(json_extract(fact, '$.usage.output_tokens'), 0) AS total_tokens,
    json_extract(fact, '$.cost') AS cost,
    coalesce(json_extract(fact, '$.model'), '') AS model,
    created_at
FROM journal
WHERE kind = 'model_replied';

CREATE VIEW compactions AS
SELECT
    session_id,
    seq AS compact_seq,
    json_extract(fact, '$.from_seq') AS from_seq,
    json_extract(fact, '$.to_seq') AS to_seq,
    json_extract(fact, '$.before_tokens') AS before_tokens,
    json_extract(fact, '$.after_tokens') AS after_tokens,
    json_extract(fact, '$.summary') AS summary,
    run,
    round_index,
    created_at
FROM journal
WHERE kind = 'compacted';

CREATE VIEW session_state AS
SELECT
    s.id AS session_id,
    s.parent_id,
    s.kind,
    s.lifecycle,
    s.epoch AS run,
    s.head_seq,
    s.head_seq + 1 AS next_seq,
    e.kind AS last_kind,
    e.round AS round_index,
    CASE WHEN e.kind = 'run_ended' AND json_valid(e.body) THEN json_extract(e.body, '$.status') END AS last_status,
    s.lease_owner,
    s.lease_wall_ms AS lease_until,
    (SELECT count(*) FROM inbox AS i WHERE i.session = s.key) AS inbox_rows,
    s.created_at,
    s.updated_at
FROM sessions AS s LEFT JOIN entries AS e ON e.id = s.key << 32 | s.head_seq;
