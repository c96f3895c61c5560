BEGIN TRANSACTION;
CREATE TABLE blobs (
    digest BLOB PRIMARY KEY NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    run INTEGER NOT NULL,
    round INTEGER NOT NULL,
    time INTEGER NOT NULL,
    body TEXT NOT NULL,
    digest BLOB NOT NULL
);
INSERT INTO "entries" VALUES(4294967297,'session_opened',1,0,0,1700000000000,'{"config":{"max_rounds":24,"max_tokens":8000},"metadata":{"née":true,"user":"ann"}}',X'DFF77EE242F7735220CD07E153A77E8E');
INSERT INTO "entries" VALUES(4294967298,'input_received',1,1,0,1700000000000,'{"content":"Where is it warm?"}',X'6E431499F9237C2747748D4F9D679609');
INSERT INTO "entries" VALUES(4294967299,'run_started',1,1,0,1700000000000,'{"limits":{"max_attempts":2},"owner":"driver_1_golden","definition":"b8daca6f3db9e531c5931dfb5f3fefc5"}',X'1191E7F2D27F78B610905D24C694B6DE');
INSERT INTO "entries" VALUES(4294967300,'definition_changed',1,1,0,1700000000000,'{"digest":"b8daca6f3db9e531c5931dfb5f3fefc5","tools":[{"function":{"description":"Return the weather of a city.","name":"look","parameters":{"additionalProperties":false,"properties":{"city":{"type":"string"}},"required":["city"],"type":"object"}},"type":"function"},{"function":{"description":"Book a bed.","name":"book","parameters":{"additionalProperties":false,"properties":{"city":{"type":"string"},"nights":{"default":1,"type":"integer"}},"required":["city"],"type":"object"}},"type":"function"},{"function":{"description":"Pay.","name":"pay","parameters":{"additionalProperties":false,"properties":{"amount":{"type":"integer"}},"required":["amount"],"type":"object"}},"type":"function"}]}',X'99F6F0F239C5CEDD4C4445B83FE5D0BA');
INSERT INTO "entries" VALUES(4294967301,'model_called',1,1,0,1700000000000,'{}',X'8AB8FF61127535ED36E2A3A8F04075BE');
INSERT INTO "entries" VALUES(4294967302,'model_failed',1,1,0,1700000000000,'{"attempt":1,"code":"llm_overloaded","message":"one moment","error_type":"LLMOverloaded","retry":true,"delay":1.0,"max_attempts":2}',X'596C35A0C3EDE6D614E40987A9FE605C');
INSERT INTO "entries" VALUES(4294967303,'model_called',1,1,0,1700000001000,'{"attempt":2}',X'41062EF7E1C4B668760312E6C9F82BDC');
INSERT INTO "entries" VALUES(4294967304,'model_replied',1,1,0,1700000001000,'{"content":[{"type":"reasoning","text":"hm, the weather","signature":"signature=="},{"type":"text","text":"I look."}],"calls":[{"id":"call_abc","name":"look","arguments":{"city":"Lima"}},{"id":"call_8_1","name":"book","raw":"{oops","error":"the arguments are not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"}],"finish_reason":"tool_calls","usage":{"input_tokens":120,"output_tokens":30,"cache_read_tokens":100,"reasoning_tokens":12},"cost":"0.0125","model":"model-1","payload":{"native":{"id":"resp_1"}}}',X'8A02892F68DB12FEED5A3F56E13657E5');
INSERT INTO "entries" VALUES(4294967305,'tool_finished',1,1,0,1700000001000,'{"call":"call_8_1","name":"book","outcome":"refused","content":"Error: the arguments are not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). Call book again with a JSON object."}',X'BA8505A98485E24A1D084381AA0A1417');
INSERT INTO "entries" VALUES(4294967306,'tool_started',1,1,0,1700000001000,'{"call":"call_8_0","name":"look","effect":"read","key":"golden.call_8_0"}',X'7B9B9847E55DEA1ADB1EB5AF1E5A6E0D');
INSERT INTO "entries" VALUES(4294967307,'tool_finished',1,1,0,1700000001000,'{"call":"call_8_0","name":"look","content":"sunny in Lima ☀","attempt":1,"closes_round":true}',X'D5929E610CB93D641D756F4A64B1E020');
INSERT INTO "entries" VALUES(4294967308,'model_called',1,1,1,1700000001000,'{}',X'D17AACA251E035D20B56E9E202C82EEA');
INSERT INTO "entries" VALUES(4294967309,'model_replied',1,1,1,1700000001000,'{"calls":[{"id":"call_13_0","name":"look","arguments":{"city":"Quito"}},{"id":"call_13_1","name":"pay","arguments":{"amount":3}},{"id":"call_13_2","name":"vanish"}],"finish_reason":"tool_calls","usage":{"input_tokens":10,"output_tokens":5},"cost":"0.002","model":"scripted"}',X'9F5D7FD1651E199A15918A7A1A577D0E');
INSERT INTO "entries" VALUES(4294967310,'tool_finished',1,1,1,1700000001000,'{"call":"call_13_2","name":"vanish","outcome":"refused","content":"Error: unknown tool ''vanish''. Available tools: book, look, pay."}',X'C4AF7653F7881D1BD71DEA4891B46148');
INSERT INTO "entries" VALUES(4294967311,'tool_started',1,1,1,1700000001000,'{"call":"call_13_0","name":"look","effect":"read","key":"golden.call_13_0"}',X'CF38D2BEF557F3DB31BFF80292E6573D');
INSERT INTO "entries" VALUES(4294967312,'tool_finished',1,1,1,1700000001000,'{"call":"call_13_0","name":"look","content":"sunny in Quito ☀","attempt":1}',X'565B47BED8D5CA3C23466089A98F1ADF');
INSERT INTO "entries" VALUES(4294967313,'tool_started',1,1,1,1700000001000,'{"call":"call_13_1","name":"pay","key":"golden.call_13_1"}',X'F6611E6B032A0411AA41FDF4BFED73D9');
INSERT INTO "entries" VALUES(4294967314,'result_edited',1,1,1,1700000001000,'{"call":"call_13_0","content":"[hidden]"}',X'0845539C3347A2C3EF124FA6290E00DC');
INSERT INTO "entries" VALUES(4294967315,'tool_finished',1,1,1,1700000001000,'{"call":"call_13_1","name":"pay","outcome":"failed","content":"Error: LookupError: no such account","attempt":1,"closes_round":true}',X'20EA74F9D5726F165F744D39B473DDAE');
INSERT INTO "entries" VALUES(4294967316,'model_called',1,1,2,1700000001000,'{}',X'80DEB9D6A5C4606724C72FF4DE19C900');
INSERT INTO "entries" VALUES(4294967317,'model_replied',1,1,2,1700000001000,'{"content":"rude words","usage":{"input_tokens":10,"output_tokens":5},"cost":"0.001","model":"scripted"}',X'BB06C661CF3566B21E0A796CAC71FF06');
INSERT INTO "entries" VALUES(4294967318,'reply_edited',1,1,2,1700000001000,'{"target":21,"content":"kind words"}',X'5BA9778EF019D9481ECC787853F314B1');
INSERT INTO "entries" VALUES(4294967319,'run_ended',1,1,2,1700000001000,'{"status":"completed","rounds":3}',X'B4B786B19557732A24672B6487EC5A43');
INSERT INTO "entries" VALUES(4294967320,'input_received',1,2,0,1700000001000,'{"content":"Speak plainly.","role":"system"}',X'3B0C5045192A7FE3682D0D5CF9353652');
INSERT INTO "entries" VALUES(4294967321,'input_received',1,2,0,1700000001000,'{"content":"Thanks!"}',X'FADB31D52FE9CD31A9AE2A5BCB67C95F');
INSERT INTO "entries" VALUES(4294967322,'run_started',1,2,0,1700000001000,'{"limits":{"max_attempts":2},"owner":"driver_1_golden","definition":"b8daca6f3db9e531c5931dfb5f3fefc5"}',X'F4CEB016BBE59176F649DC2B9F24E8C3');
INSERT INTO "entries" VALUES(4294967323,'view_edited',1,2,0,1700000001000,'{"start":0,"stop":0,"messages":[{"role":"user","content":"Earlier we spoke of Peru."}]}',X'C118CEE660D7A3D77AFEA653C840C257');
INSERT INTO "entries" VALUES(4294967324,'round_skipped',1,2,0,1700000001000,'{"reason":"not yet"}',X'31656C76B09C65B3103792567F9DC8C7');
INSERT INTO "entries" VALUES(4294967325,'model_called',1,2,1,1700000001000,'{}',X'3D0DB6E3F1B9289B651AB4E170191FF2');
INSERT INTO "entries" VALUES(4294967326,'model_replied',1,2,1,1700000001000,'{"content":"a second answer, naïve é 漢字 � �","usage":{"input_tokens":10,"output_tokens":5},"model":"scripted","cleaned":true}',X'5D73F562291E7D769DAD529970B5DE89');
INSERT INTO "entries" VALUES(4294967327,'input_received',1,2,0,1700000001000,'{"content":"And with an inbox?","name":"bob"}',X'D00FEA531A46C8E112A05E49BB9CA95F');
INSERT INTO "entries" VALUES(4294967328,'round_skipped',1,2,0,1700000001000,'{"reason":"not yet"}',X'D918259555F91817708E95CA8C7301AB');
INSERT INTO "entries" VALUES(4294967329,'model_called',1,2,1,1700000001000,'{}',X'C58B26F577D03374E9B8F578110B8BEC');
INSERT INTO "entries" VALUES(4294967330,'model_replied',1,2,1,1700000001000,'{"content":"an answer to the inbox","usage":{"input_tokens":10,"output_tokens":5},"model":"scripted"}',X'092D7507B0D115B97954E4B62B605F47');
INSERT INTO "entries" VALUES(4294967331,'run_ended',1,2,1,1700000001000,'{"status":"completed","rounds":2}',X'35ADBA0FC29BD973B443A47BECB66C44');
INSERT INTO "entries" VALUES(4294967332,'input_received',1,3,0,1700000001000,'{"content":"Book something."}',X'0A62D62D414CFFFC38A40B7F3B0C284B');
INSERT INTO "entries" VALUES(4294967333,'run_started',1,3,0,1700000001000,'{"limits":{"max_rounds":1,"max_attempts":2},"owner":"driver_1_golden","definition":"8f04bc5789d7c306b0c133baf5f2bca4"}',X'F54DA1E254E6E01657B9D7A85127E28F');
INSERT INTO "entries" VALUES(4294967334,'definition_changed',1,3,0,1700000001000,'{"digest":"8f04bc5789d7c306b0c133baf5f2bca4","system":"Be brief.","tools":[{"function":{"description":"Return the weather of a city.","name":"look","parameters":{"additionalProperties":false,"properties":{"city":{"type":"string"}},"required":["city"],"type":"object"}},"type":"function"},{"function":{"description":"Book a bed.","name":"book","parameters":{"additionalProperties":false,"properties":{"city":{"type":"string"},"nights":{"default":1,"type":"integer"}},"required":["city"],"type":"object"}},"type":"function"},{"function":{"description":"Pay.","name":"pay","parameters":{"additionalProperties":false,"properties":{"amount":{"type":"integer"}},"required":["amount"],"type":"object"}},"type":"function"}]}',X'8B741FEFB0EA0F809DC1F22D9D50A46F');
INSERT INTO "entries" VALUES(4294967335,'model_called',1,3,0,1700000001000,'{"max_rounds":1}',X'25BE9D4CA7E93E307D7FA49A5F647EFD');
INSERT INTO "entries" VALUES(4294967336,'model_replied',1,3,0,1700000001000,'{"calls":[{"id":"call_40_0","name":"book","arguments":{"city":"Cusco"}},{"id":"call_40_1","name":"look","arguments":{"city":"Puno"}}],"finish_reason":"tool_calls","usage":{"input_tokens":10,"output_tokens":5},"model":"scripted","max_rounds":1}',X'2C5CE2DAB68798E04FF3E9B5746711A8');
INSERT INTO "entries" VALUES(4294967337,'tool_started',1,3,0,1700000001000,'{"call":"call_40_0","name":"book","effect":"idempotent","key":"golden.call_40_0","arguments":{"city":"Cusco","nights":2}}',X'479CA96C289A4A23DD457BE9893F48C8');
INSERT INTO "entries" VALUES(4294967338,'tool_finished',1,3,0,1700000001000,'{"call":"call_40_0","name":"book","content":"booked 2 night(s) in Cusco","attempt":1}',X'D6A6F3B262FE0B8CB6F268CDCE4BC0C3');
INSERT INTO "entries" VALUES(4294967339,'tool_started',1,3,0,1700000001000,'{"call":"call_40_1","name":"look","effect":"read","key":"golden.call_40_1"}',X'FA033CA8031321CC0A3DDB14525120FF');
INSERT INTO "entries" VALUES(4294967340,'tool_finished',1,3,0,1700000001000,'{"call":"call_40_1","name":"look","content":"sunny in Puno ☀","attempt":1,"closes_round":true}',X'AB18EA009BFCF679A60F8E9604A2057D');
INSERT INTO "entries" VALUES(4294967341,'note',1,3,1,1700000001000,'{"topic":"wrap_up","text":"The limit of rounds for this task is reached and no further tool can be used. Sum up what was done, what was found and what is still open."}',X'CC548408E22C6BB89EB9685C5142DB53');
INSERT INTO "entries" VALUES(4294967342,'model_called',1,3,1,1700000001000,'{"wrap_up":true,"max_rounds":1}',X'9EE348AF16675415BF567AF3E59AFA7F');
INSERT INTO "entries" VALUES(4294967343,'model_replied',1,3,1,1700000001000,'{"content":"so far: Cusco","usage":{"input_tokens":10,"output_tokens":5},"model":"scripted","max_rounds":1}',X'BA2E4CED36702F03F5290E318BAF10CA');
INSERT INTO "entries" VALUES(4294967344,'run_ended',1,3,1,1700000001000,'{"status":"hit_round_limit","final_text":"[hit_round_limit]\nso far: Cusco","rounds":2}',X'6EC1295B74143DA64C76098A10A3B169');
INSERT INTO "entries" VALUES(4294967345,'input_received',1,4,0,1699996401000,'{"content":"Once more."}',X'F5DB269EB13C51228C4DEBB690B259E4');
INSERT INTO "entries" VALUES(4294967346,'run_started',1,4,0,1699996401000,'{"limits":{"max_attempts":2},"owner":"driver_1_golden","definition":"b8daca6f3db9e531c5931dfb5f3fefc5"}',X'8EA0197433F446B76DC3D7F9C31DB1BA');
INSERT INTO "entries" VALUES(4294967347,'definition_changed',1,4,0,1699996401000,'{"digest":"b8daca6f3db9e531c5931dfb5f3fefc5","tools":[{"function":{"description":"Return the weather of a city.","name":"look","parameters":{"additionalProperties":false,"properties":{"city":{"type":"string"}},"required":["city"],"type":"object"}},"type":"function"},{"function":{"description":"Book a bed.","name":"book","parameters":{"additionalProperties":false,"properties":{"city":{"type":"string"},"nights":{"default":1,"type":"integer"}},"required":["city"],"type":"object"}},"type":"function"},{"function":{"description":"Pay.","name":"pay","parameters":{"additionalProperties":false,"properties":{"amount":{"type":"integer"}},"required":["amount"],"type":"object"}},"type":"function"}]}',X'308EAD499DD1B61DCBF867CB8B3FF75E');
INSERT INTO "entries" VALUES(4294967348,'model_called',1,4,0,1699996401000,'{}',X'9D285C6AF9D72B47F8BC683AB12A2089');
INSERT INTO "entries" VALUES(4294967349,'model_replied',1,4,0,1699996401000,'{"calls":[{"id":"call_53_0","name":"look","arguments":{"city":"Ica"}},{"id":"call_53_1","name":"book","arguments":{"city":"Ica"}}],"finish_reason":"tool_calls","usage":{"input_tokens":10,"output_tokens":5},"model":"scripted"}',X'F99B772DC21E448EE99A621D9B6AB648');
INSERT INTO "entries" VALUES(4294967350,'cancelled',1,4,0,1699996401000,'{"target":4,"reason":"enough"}',X'95DBE115D5401D8D130EB249A382D799');
INSERT INTO "entries" VALUES(4294967351,'tool_finished',1,4,0,1699996401000,'{"call":"call_53_0","name":"look","outcome":"cancelled","content":"<cancelled before it started>"}',X'5FD7F979F6C03506CDC7AF21990FCA01');
INSERT INTO "entries" VALUES(4294967352,'tool_finished',1,4,0,1699996401000,'{"call":"call_53_1","name":"book","outcome":"cancelled","content":"<cancelled before it started>","closes_round":true}',X'129AE9DE266D1F37513902EE9DD46AFF');
INSERT INTO "entries" VALUES(4294967353,'run_ended',1,4,1,1699996401000,'{"status":"cancelled","final_text":"[cancelled: enough]","rounds":1,"reason":"enough"}',X'5C3E291A7F55C72AD6964937D0C08A98');
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('input', 'cancel')),
    run INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
INSERT INTO "inbox" VALUES(1,1,'input',0,'{"content":"waiting"}',7);
CREATE TABLE schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
);
INSERT INTO "schema_migrations" VALUES(1,'journal',1795468031054);
INSERT INTO "schema_migrations" VALUES(2,'views',1795468031054);
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
    metadata TEXT NOT NULL
);
INSERT INTO "sessions" VALUES(1,'golden',NULL,'root','ephemeral',0,1700000000000,1700000000000,0,X'20EB71098D3263C2C4F1551D8167E51C',57,X'5C3E291A7F55C72AD6964937D0C08A98',0,NULL,NULL,NULL,NULL,'{"a":1}','{}');
INSERT INTO "sessions" VALUES(2,'child','golden','subagent','ephemeral',0,5,5,0,X'4F3D2183497DA8A376EFF79C40A7E843',0,X'4F3D2183497DA8A376EFF79C40A7E843',0,NULL,NULL,NULL,NULL,'{}','{}');
CREATE INDEX sessions_by_parent ON sessions (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX inbox_by_session ON inbox (session, id);
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('inbox',1);
COMMIT;
