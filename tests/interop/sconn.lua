-- Say something again and again to an echo behind an SCP server, reconnecting now and then;
-- check that all of it comes back, once and in order.  HOST PORT ROUNDS
local sconn = require "sconn"

local host, port, rounds = arg[1], tonumber(arg[2]), tonumber(arg[3])
local sock = assert(sconn.connect_host(host, port, "test1"))
local said, heard, reconnects = {}, {}, 0

local function step()
  sock:update()
  local out = {}
  local count = sock:recv(out)
  if count and count > 0 then
    heard[#heard + 1] = table.concat(out, "", 1, count)
  end
  os.execute("sleep 0.002")
end

for round = 1, rounds do
  local words = ("%d-%s;"):format(round, ("x"):rep(round % 50))
  said[#said + 1] = words
  sock:send(words)
  if round % 7 == 0 then
    while not sock:reconnect() do -- one that is under way must be over first
      step()
    end
    reconnects = reconnects + 1
  end
  step()
  step()
end

local want = table.concat(said)
for _ = 1, 5000 do
  if #table.concat(heard) >= #want then
    break
  end
  step()
end
assert(table.concat(heard) == want, "what came back is not what was said")
print("equal", reconnects)
