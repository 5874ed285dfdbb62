//! What must happen in one step on the server.
//!
//! Scripts are sent whole: they are short, and a server that has just become master knows none. A
//! script that fails half way is not undone, so everything that can fail is looked at before the
//! first write. Numbers are written with `%.0f`: beyond 10^14 Lua writes them with an exponent.

/// KEYS: numbers, log. ARGV: link of a new log. Returns the format that stands.
///
/// A store of format 1 is brought to this one. A sidecar of the release before that still runs on it
/// would make changes which are not in the log, and a revocation of which no filter hears; so what
/// it counts its changes by is no number any more, and they fail.
pub(super) const PREPARE: &str = "
local format = redis.call('HGET', KEYS[1], 'format')
if format and format ~= '1' then return format end
local sequence = 0
if format then sequence = tonumber(redis.call('HGET', KEYS[1], 'api_key_revision')) or 0 end
sequence = string.format('%.0f', sequence)
redis.call('HSET', KEYS[1], 'format', '2', 'api_key_revision', 'see log_sequence',
  'log_sequence', sequence, 'log_link', ARGV[1])
redis.call('HSET', KEYS[2], sequence, ARGV[1])
return '2'";

/// KEYS: numbers, log, then two for each operation: the hash of its table twice, or the key of its
/// own entry and the index of its table.
/// ARGV: format, entries that the log keeps, nonce, number of operations; then four for each
/// operation: what, key in the table, value, end in seconds or nothing; then the entries of the log.
///
/// Returns `done`, sequence and link; or `conflict` and the number of the check; or `counter`, or
/// `format`. The head is written even if it stays: so there is always something for `WAIT` to wait
/// for, and a master that was cut off from its replicas is found out.
pub(super) const COMMIT: &str = "
if redis.call('HGET', KEYS[1], 'format') ~= ARGV[1] then return {'format'} end
local count = tonumber(ARGV[4])
local function is_field(i) return KEYS[2*i+1] == KEYS[2*i+2] end
local function read(i)
  if is_field(i) then return redis.call('HGET', KEYS[2*i+1], ARGV[4*i+2]) end
  return redis.call('GET', KEYS[2*i+1])
end
local checks = 0
for i = 1, count do
  local what = ARGV[4*i+1]
  if what == 'absent' or what == 'same' then
    local stands = read(i)
    if (what == 'absent' and stands) or (what == 'same' and stands ~= ARGV[4*i+3]) then
      return {'conflict', tostring(checks)}
    end
    checks = checks + 1
  elseif what == 'add' or what == 'maximum' then
    local stands = read(i)
    if stands and (#stands > 16 or not string.find(stands, '^%d+$')) then
      return {'counter', tostring(i - 1)}
    end
  end
end
local function write(i, value, ends)
  local key, index, name = KEYS[2*i+1], KEYS[2*i+2], ARGV[4*i+2]
  if is_field(i) then
    redis.call('HSET', key, name, value)
  elseif ends == '' then
    redis.call('SET', key, value)
    redis.call('ZADD', index, '+inf', name)
  else
    redis.call('SET', key, value, 'PXAT', ends .. '000')
    redis.call('ZADD', index, ends, name)
  end
end
local function count_on(i)
  local stands, amount, ends = read(i), tonumber(ARGV[4*i+3]), ARGV[4*i+4]
  local before = tonumber(stands or '0')
  local after = math.max(before, amount)
  if ARGV[4*i+1] == 'add' then after = before + amount end
  after = math.min(after, 9007199254740991)
  if stands and not is_field(i) then
    local ends_before = redis.call('ZSCORE', KEYS[2*i+2], ARGV[4*i+2])
    if not ends_before or ends_before == 'inf' then ends = ''
    elseif ends ~= '' and tonumber(ends_before) > tonumber(ends) then ends = ends_before end
  end
  write(i, string.format('%.0f', after), ends)
end
for i = 1, count do
  local what = ARGV[4*i+1]
  if what == 'put' then write(i, ARGV[4*i+3], ARGV[4*i+4])
  elseif what == 'add' or what == 'maximum' then count_on(i)
  elseif what == 'delete' then
    if is_field(i) then redis.call('HDEL', KEYS[2*i+1], ARGV[4*i+2])
    else
      redis.call('DEL', KEYS[2*i+1])
      redis.call('ZREM', KEYS[2*i+2], ARGV[4*i+2])
    end
  end
end
local head = redis.call('HMGET', KEYS[1], 'log_sequence', 'log_link')
local sequence, link = tonumber(head[1]), head[2]
for i = 4 * count + 5, #ARGV do
  sequence = sequence + 1
  link = string.sub(redis.sha1hex(link .. ARGV[3] .. ARGV[i]), 1, 32)
  redis.call('HSET', KEYS[2], string.format('%.0f', sequence), link .. ARGV[i])
  redis.call('HDEL', KEYS[2], string.format('%.0f', sequence - tonumber(ARGV[2])))
end
sequence = string.format('%.0f', sequence)
redis.call('HSET', KEYS[1], 'log_sequence', sequence, 'log_link', link)
return {'done', sequence, link}";

/// KEYS: numbers, log. ARGV: format, link of a new log. Returns as [`COMMIT`] does.
pub(super) const BEGIN_LOG_ANEW: &str = "
if redis.call('HGET', KEYS[1], 'format') ~= ARGV[1] then return {'format'} end
local sequence = tonumber(redis.call('HGET', KEYS[1], 'log_sequence')) + 1
sequence = string.format('%.0f', sequence)
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], sequence, ARGV[2])
redis.call('HSET', KEYS[1], 'log_sequence', sequence, 'log_link', ARGV[2])
return {'done', sequence, ARGV[2]}";

/// KEYS: numbers. ARGV: format. Returns as [`COMMIT`] does, the head as it stands.
///
/// What it writes is what stood there: something for `WAIT` to wait for. It must work on a server that
/// is full, which takes no changes and is cut off from nobody: its filters are not to close.
pub(super) const CONFIRM: &str = "#!lua flags=allow-oom
if redis.call('HGET', KEYS[1], 'format') ~= ARGV[1] then return {'format'} end
local head = redis.call('HMGET', KEYS[1], 'log_sequence', 'log_link')
redis.call('HSET', KEYS[1], 'log_link', head[2])
return {'done', head[1], head[2]}";

/// KEYS: indexes. ARGV: now in seconds, how many at most. Returns how many were removed, and 1 if
/// there are more. The server has removed the entries themselves, by its own clock; so what its
/// clock does not say to be over stays listed.
pub(super) const CLEAN_UP: &str = "
local now = math.min(tonumber(ARGV[1]), tonumber(redis.call('TIME')[1]))
now = string.format('%.0f', now)
local left, removed, more = tonumber(ARGV[2]), 0, 0
for _, index in ipairs(KEYS) do
  local over = redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, left + 1)
  for i = 1, math.min(#over, left) do redis.call('ZREM', index, over[i]) end
  removed = removed + math.min(#over, left)
  if #over > left then more = 1 end
  left = left - math.min(#over, left)
end
return {removed, more}";
