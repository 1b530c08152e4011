-- Health of a RedisMemoryPolicy for Argo CD (docs/gitops.md says how to install it).
--
-- Healthy means that the operator has evaluated this generation of the policy. It does not mean that every Redis is
-- well: a sick Redis must not stop a sync. What is the matter stands in the message.
local hs = { status = "Progressing", message = "the operator has not evaluated the policy yet" }
local status = obj.status
if status == nil or status.conditions == nil then
  return hs
end
if status.observedGeneration ~= obj.metadata.generation then
  hs.message = "the operator has not evaluated this generation of the policy yet"
  return hs
end

local is = {}
for _, condition in ipairs(status.conditions) do
  is[condition.type] = condition
end

if is.Stalled ~= nil and is.Stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = is.Stalled.reason .. ": " .. is.Stalled.message
  return hs
end
if is.Reconciling ~= nil and is.Reconciling.status == "True" then
  hs.message = is.Reconciling.message
  return hs
end
if is.Ready == nil or is.Ready.status ~= "True" then
  return hs
end

hs.status = "Healthy"
hs.message = "evaluated"
if status.verdict ~= nil then
  hs.message = status.verdict.level .. ": " .. status.verdict.brief
end
-- Not Argo CD's Suspended: its later waves would wait for somebody who has gone to bed.
if obj.spec.suspend then
  hs.message = hs.message .. " (spec.suspend is set: nothing new is begun)"
end
return hs
