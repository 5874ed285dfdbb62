//! What must happen in one step on the server.
//!
//! Scripts are sent whole: they are short, and a server that has just become master knows none.
//! KEYS are those of [`super::keys`], in that order, in every script.

/// Reads and raises the revision. The clock is its floor: after a failover that lost changes the
/// count goes on from numbers that nobody has seen.
macro_rules! bump {
    () => {
        "
local function bump(floor)
  local old = tonumber(redis.call('HGET', KEYS[1], 'api_key_revision') or '0')
  local now = redis.call('TIME')
  local clock = tonumber(now[1]) * 1000000 + tonumber(now[2])
  local new = math.max(old + 1, clock, floor)
  redis.call('HSET', KEYS[1], 'api_key_revision', string.format('%.0f', new))
end
"
    };
}

/// ARGV: format. Returns the format that stands.
pub(super) const PREPARE: &str = "
redis.call('HSETNX', KEYS[1], 'format', ARGV[1])
redis.call('HSETNX', KEYS[1], 'api_key_revision', '1')
return redis.call('HGET', KEYS[1], 'format')";

/// ARGV: id, name, record. Returns `done`, `name` or `id`.
pub(super) const INSERT_API_KEY: &str = concat!(
    bump!(),
    "
if redis.call('HEXISTS', KEYS[5], ARGV[2]) == 1 then return 'name' end
if redis.call('HEXISTS', KEYS[4], ARGV[1]) == 1 then return 'id' end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[5], ARGV[2], ARGV[1])
bump(0)
return 'done'"
);

/// ARGV: id, name, record before, record after, `1` if the name is set free. Returns `done` or
/// `changed`.
pub(super) const REPLACE_API_KEY: &str = concat!(
    bump!(),
    "
if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[3] then return 'changed' end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[4])
if ARGV[5] == '1' and redis.call('HGET', KEYS[5], ARGV[2]) == ARGV[1] then
  redis.call('HDEL', KEYS[5], ARGV[2])
end
bump(0)
return 'done'"
);

/// ARGV: table, as its place in KEYS; field; value. Returns the value that stands. It is written
/// again even if it stood: so `WAIT` after this waits for it too, whoever wrote it.
pub(super) const GET_OR_INSERT: &str = "
local key = KEYS[tonumber(ARGV[1])]
local stands = redis.call('HGET', key, ARGV[2]) or ARGV[3]
redis.call('HSET', key, ARGV[2], stands)
return stands";

/// ARGV: table, as its place in KEYS; field and value, and so on. Returns `done` or `changed`.
pub(super) const ADD_ENTRIES: &str = "
local key = KEYS[tonumber(ARGV[1])]
for i = 2, #ARGV, 2 do
  local stands = redis.call('HGET', key, ARGV[i])
  if stands and stands ~= ARGV[i + 1] then return 'changed' end
end
for i = 2, #ARGV, 2 do
  redis.call('HSET', key, ARGV[i], ARGV[i + 1])
end
return 'done'";

/// ARGV: floor.
pub(super) const RAISE_REVISION: &str = concat!(bump!(), "bump(tonumber(ARGV[1])) return 'done'");
