-- SPDX-License-Identifier: BSD-3-Clause
-- Wireshark dissector of Pando's frames. Made by build/perf/pando-dissector of the lists in dataplane/wire and of
-- body.lua: change those, and README.md says how to make it again. For Wireshark 4.0 and later.

local WIRE = {
    version = 1,
    revision = 9,
    ethertype = 34997,
    udp_port = 34997,
    source_port = 49152,
    nodes_max = 64,
    vcpus_max = 255,
    page_size = 4096,
    bytes_max = 16384,
    msg_header = 22,
    chan_vm = 65535,
    span_stamps = 4,
    span_whats = 3,
    span_flags = 3,
    header = 24,
    header_part = 28,
    header_max = 32,
    crc_offset = 20,
    data_max = 8960,
    dst_group = 255,
    group_msg_max = 64,
    age_mantissa = 7,
    endpoint_kind = 64,
    segments_max = 33,
}

local CLASSES = { [0] = "urgent", [1] = "request", [2] = "data", [3] = "bulk" }

local KINDS = {
    [0x01] = { name = "gets", class = 1, payload = "none", family = "COH" },
    [0x02] = { name = "getm", class = 1, payload = "none", family = "COH" },
    [0x03] = { name = "fwd_gets", class = 0, payload = "none", family = "COH" },
    [0x04] = { name = "fwd_getm", class = 0, payload = "none", family = "COH" },
    [0x05] = { name = "inv", class = 0, payload = "none", family = "COH" },
    [0x06] = { name = "inv_ack", class = 0, payload = "none", family = "COH" },
    [0x07] = { name = "grant", class = 0, payload = "none", family = "COH" },
    [0x08] = { name = "data", class = 2, payload = "page", family = "COH" },
    [0x09] = { name = "puts", class = 1, payload = "none", family = "COH" },
    [0x0a] = { name = "putm", class = 2, payload = "page", family = "COH" },
    [0x0b] = { name = "puto", class = 2, payload = "page", family = "COH" },
    [0x0c] = { name = "put_ack", class = 0, payload = "none", family = "COH" },
    [0x20] = { name = "irq", class = 0, payload = "none", family = "GLUE" },
    [0x21] = { name = "apic_set", class = 0, payload = "none", family = "GLUE" },
    [0x22] = { name = "apic_ack", class = 0, payload = "none", family = "GLUE" },
    [0x23] = { name = "io_exit", class = 1, payload = "bytes", family = "GLUE" },
    [0x24] = { name = "io_done", class = 1, payload = "bytes", family = "GLUE" },
    [0x25] = { name = "kick", class = 0, payload = "none", family = "GLUE" },
    [0x26] = { name = "vcpu_cmd", class = 3, payload = "bytes", family = "GLUE" },
    [0x27] = { name = "vcpu_rep", class = 3, payload = "bytes", family = "GLUE" },
    [0x28] = { name = "vm_cmd", class = 3, payload = "bytes", family = "GLUE" },
    [0x29] = { name = "vm_rep", class = 3, payload = "bytes", family = "GLUE" },
    [0x30] = { name = "time_req", class = 0, payload = "none", family = "CLOCK" },
    [0x31] = { name = "time_rep", class = 0, payload = "bytes", family = "CLOCK" },
    [0x32] = { name = "span", class = 3, payload = "bytes", family = "SPAN" },
}

local FAMILIES = {
    COH = { header = "coh" },
    GLUE = { header = "glue" },
    CLOCK = { header = "clock", payload = "time_rep" },
    SPAN = { header = "span", payload = "stamp" },
}

local LAYOUTS = {
    rrdp = {
        stop = 24,
        fields = {
            { name = "version", at = 0, bits = 2, show = "dec", role = "made",
              text = "version of the header" },
            { name = "syn", at = 2, bits = 1, show = "flag", role = "member",
              text = "SYN: set-up, or HOST-PING with NUL" },
            { name = "ack_valid", at = 3, bits = 1, show = "flag", role = "member",
              text = "ACK: the acknowledgement is valid" },
            { name = "eack", at = 4, bits = 1, show = "flag", role = "member",
              text = "EACK: a bitmap of frames out of order follows" },
            { name = "rst", at = 5, bits = 1, show = "flag", role = "member",
              text = "RST: the connection ends" },
            { name = "nul", at = 6, bits = 1, show = "flag", role = "member",
              text = "NUL: heartbeat" },
            { name = "aead", at = 7, bits = 1, show = "flag", role = "reserved",
              text = "AEAD (reserved)" },
            { name = "words", at = 8, bits = 5, show = "dec", role = "made",
              text = "length of the header, in 4-byte words" },
            { name = "first", at = 13, bits = 1, show = "flag", role = "member",
              text = "FIRST: a message begins" },
            { name = "last", at = 14, bits = 1, show = "flag", role = "member",
              text = "LAST: a message ends" },
            { name = "reserved", at = 15, bits = 1, show = "flag", role = "reserved",
              text = "reserved" },
            { name = "src", at = 16, bits = 8, show = "dec", role = "member",
              text = "source node" },
            { name = "dst", at = 24, bits = 8, show = "dec", role = "member",
              text = "destination node (255: a group)" },
            { name = "cls", at = 32, bits = 2, show = "class", role = "member",
              text = "class" },
            { name = "data_len", at = 34, bits = 14, show = "dec", role = "member",
              text = "bytes of the segment" },
            { name = "credit", at = 48, bits = 8, show = "dec", role = "member",
              text = "credit: frames that the sender will still take" },
            { name = "cluster_tag", at = 56, bits = 8, show = "hex", role = "member",
              text = "cluster tag" },
            { name = "seq", at = 64, bits = 32, show = "dec", role = "member",
              text = "sequence number" },
            { name = "ack", at = 96, bits = 32, show = "dec", role = "member",
              text = "acknowledgement number" },
            { name = "tag", at = 128, bits = 32, show = "hex", role = "member",
              text = "connection tag" },
            { name = "crc", at = 160, bits = 32, show = "hex", role = "made",
              text = "CRC32C" },
        },
    },
    eack = {
        stop = 8,
        fields = {
            { name = "eack_bits", at = 0, bits = 64, show = "hex", role = "member",
              text = "bit i: frame (acknowledgement + 1 + i) is here already" },
        },
    },
    part = {
        stop = 4,
        fields = {
            { name = "part_at", at = 0, bits = 16, show = "dec", role = "member",
              text = "where the part begins in its frame's segment" },
            { name = "part_of", at = 16, bits = 16, show = "dec", role = "member",
              text = "bytes of the whole segment" },
        },
    },
    syn = {
        stop = 48,
        fields = {
            { name = "revision", at = 0, bits = 16, show = "dec", role = "member",
              text = "wire revision" },
            { name = "nodes", at = 16, bits = 8, show = "dec", role = "member",
              text = "nodes of the cluster" },
            { name = "credit", at = 24, bits = 8, show = "dec", role = "member",
              text = "frames a class that the sender takes" },
            { name = "mtu", at = 32, bits = 16, show = "dec", role = "member",
              text = "MTU" },
            { name = "heard", at = 48, bits = 16, show = "dec", role = "member",
              text = "bytes of the SYN that this one answers (path MTU)" },
            { name = "cluster_id", at = 64, bits = 64, show = "hex", role = "member",
              text = "cluster id" },
            { name = "epoch", at = 128, bits = 64, show = "dec", role = "member",
              text = "epoch of the sender" },
            { name = "echo_epoch", at = 192, bits = 64, show = "dec", role = "member",
              text = "epoch of the receiver (0: not known)" },
            { name = "config_hash", at = 256, bits = 64, show = "hex", role = "member",
              text = "hash of the configuration" },
            { name = "reserved", at = 320, bits = 64, show = "hex", role = "reserved",
              text = "reserved" },
        },
    },
    group = {
        stop = 8,
        fields = {
            { name = "members", at = 0, bits = 64, show = "nodes", role = "member",
              text = "members" },
        },
    },
    entry = {
        stop = 8,
        fields = {
            { name = "seq", at = 0, bits = 32, show = "dec", role = "member",
              text = "sequence number for a member" },
            { name = "tag", at = 32, bits = 32, show = "hex", role = "member",
              text = "connection tag of a member" },
        },
    },
    msg = {
        stop = 2,
        fields = {
            { name = "kind", at = 0, bits = 8, show = "kind", role = "member",
              text = "kind" },
            { name = "vm", at = 8, bits = 8, show = "dec", role = "member",
              text = "virtual machine" },
        },
    },
    coh = {
        stop = 22,
        fields = {
            { name = "requester", at = 16, bits = 8, show = "dec", role = "member",
              text = "requester (node)" },
            { name = "acks", at = 24, bits = 6, show = "dec", role = "member",
              text = "invalidation acknowledgements that the requester collects" },
            { name = "zero", at = 30, bits = 1, show = "flag", role = "member",
              text = "zero: the page was never written" },
            { name = "exclusive", at = 31, bits = 1, show = "flag", role = "member",
              text = "exclusive: for writing" },
            { name = "page", at = 32, bits = 36, show = "hex", role = "member",
              text = "page" },
            { name = "age", at = 68, bits = 12, show = "dec", role = "member",
              text = "age: how long the vCPU has been collecting (float)" },
            { name = "txn", at = 80, bits = 48, show = "dec", role = "member",
              text = "transaction of the requester" },
            { name = "version", at = 128, bits = 48, show = "dec", role = "member",
              text = "the directory's version of the page" },
        },
    },
    glue = {
        stop = 22,
        fields = {
            { name = "chan", at = 16, bits = 16, show = "chan", role = "member",
              text = "channel: vCPU at the destination" },
            { name = "op", at = 32, bits = 16, show = "dec", role = "member",
              text = "operation" },
            { name = "seq", at = 48, bits = 32, show = "dec", role = "member",
              text = "sequence number of the sender's" },
            { name = "arg", at = 80, bits = 64, show = "hex", role = "member",
              text = "argument" },
            { name = "reserved", at = 144, bits = 32, show = "hex", role = "reserved",
              text = "reserved" },
        },
    },
    clock = {
        stop = 22,
        fields = {
            { name = "seq", at = 16, bits = 32, show = "dec", role = "member",
              text = "sequence number, echoed" },
            { name = "khz", at = 48, bits = 32, show = "dec", role = "member",
              text = "nominal TSC frequency of the sender, kHz" },
            { name = "rate", at = 80, bits = 32, show = "signed", role = "member",
              text = "rate, 2^-32" },
            { name = "stamp", at = 112, bits = 64, show = "hex", role = "member",
              text = "sender's TSC when it sent" },
        },
    },
    time_rep = {
        stop = 32,
        fields = {
            { name = "received", at = 0, bits = 64, show = "hex", role = "member",
              text = "TSC when the request came" },
            { name = "base_ref", at = 64, bits = 64, show = "hex", role = "member",
              text = "line: TSC of the reference" },
            { name = "base_c", at = 128, bits = 64, show = "hex", role = "member",
              text = "line: cluster clock" },
            { name = "generation", at = 192, bits = 32, show = "dec", role = "member",
              text = "line: generation" },
            { name = "reserved", at = 224, bits = 32, show = "hex", role = "reserved",
              text = "reserved" },
        },
    },
    span = {
        stop = 22,
        fields = {
            { name = "what", at = 16, bits = 8, show = "dec", role = "member",
              text = "what it is of: 0 fault, 1 interrupt, 2 exit" },
            { name = "flags", at = 24, bits = 8, show = "hex", role = "member",
              text = "1: a frame was sent again, 2: merged" },
            { name = "chan", at = 32, bits = 16, show = "chan", role = "member",
              text = "vCPU" },
            { name = "points", at = 48, bits = 16, show = "hex", role = "member",
              text = "points that are stamped, a bit each" },
            { name = "error", at = 64, bits = 32, show = "dec", role = "member",
              text = "bound of the sender's clock, ticks" },
            { name = "id", at = 96, bits = 64, show = "dec", role = "member",
              text = "transaction, or number of the interrupt or exit" },
            { name = "reserved", at = 160, bits = 16, show = "hex", role = "reserved",
              text = "reserved" },
        },
    },
    stamp = {
        stop = 8,
        fields = {
            { name = "stamp", at = 0, bits = 64, show = "hex", role = "member",
              text = "cluster clock at the point" },
        },
    },
}

-- ---- fields of the tree ------------------------------------------------------------------------

local pando = Proto("pando", "Pando")
local kind_names = {}
for number, kind in pairs(KINDS) do kind_names[number] = kind.name end
local PLACES = { [WIRE.chan_vm] = "vm" }

local function proto_field(abbr, f)
    if f.show == "flag" then return ProtoField.bool(abbr, f.text) end
    if f.show == "kind" then return ProtoField.uint8(abbr, f.text, base.HEX, kind_names) end
    if f.show == "class" then return ProtoField.uint8(abbr, f.text, base.DEC, CLASSES) end
    if f.show == "chan" then return ProtoField.uint16(abbr, f.text, base.DEC, PLACES) end
    if f.show == "signed" then return ProtoField.int32(abbr, f.text, base.DEC) end
    local shown = f.show == "dec" and base.DEC or base.HEX
    if f.bits > 32 then return ProtoField.uint64(abbr, f.text, shown) end
    if f.bits <= 8 then return ProtoField.uint8(abbr, f.text, shown) end
    if f.bits <= 16 then return ProtoField.uint16(abbr, f.text, shown) end
    return ProtoField.uint32(abbr, f.text, shown)
end

local made = {
    link = ProtoField.string("pando.link", "carried by"),
    flow = ProtoField.bool("pando.flow_port", "UDP source port is this class's and destination's"),
    verdict = ProtoField.string("pando.rrdp.verdict", "verdict on the frame"),
    crc_good = ProtoField.bool("pando.rrdp.crc_good", "CRC32C is right"),
    again = ProtoField.framenum("pando.again", "the same frame was sent before", base.NONE),
    message = ProtoField.string("pando.message", "message"),
    message_verdict = ProtoField.string("pando.message_verdict", "verdict on the message"),
    age_us = ProtoField.uint64("pando.coh.age_us", "age, us", base.DEC),
    payload = ProtoField.bytes("pando.payload", "payload"),
    begins = ProtoField.framenum("pando.segment.begins", "its message begins in", base.NONE),
    offset = ProtoField.uint32("pando.segment.offset", "offset in the message", base.DEC),
    endpoint_len = ProtoField.uint8("pando.endpoint.len", "bytes of an endpoint's message", base.DEC),
    padding = ProtoField.bytes("pando.padding", "padding"),
}

for name, layout in pairs(LAYOUTS) do
    for _, f in ipairs(layout.fields) do
        local abbr = "pando." .. (name == "msg" and "" or name .. ".") .. f.name
        f.field = proto_field(abbr, f)
        made[abbr] = f.field
        if f.bits < 64 then f.mask = UInt64.max():rshift(64 - f.bits) end
    end
end
pando.fields = made

local expert_malformed = ProtoExpert.new("pando.malformed", "refused by Pando",
    expert.group.MALFORMED, expert.severity.ERROR)
local expert_crc = ProtoExpert.new("pando.bad_crc", "CRC32C is wrong: Pando drops the frame",
    expert.group.CHECKSUM, expert.severity.ERROR)
local expert_cut = ProtoExpert.new("pando.cut", "the capture has only a part of the frame",
    expert.group.UNDECODED, expert.severity.NOTE)
local expert_again = ProtoExpert.new("pando.sent_again", "sent again (or captured twice)",
    expert.group.SEQUENCE, expert.severity.NOTE)
pando.experts = { expert_malformed, expert_crc, expert_cut, expert_again }

pando.prefs.ethertype = Pref.uint("EtherType", WIRE.ethertype, "fabric.ethertype of the configuration")
pando.prefs.udp_port = Pref.uint("UDP port", WIRE.udp_port, "fabric.udp_port of the configuration")

pando.prefs.check_crc = Pref.bool("Check CRC32C", true, "Byte by byte in Lua: turn it off for long captures of pages")

-- ---- bytes -------------------------------------------------------------------------------------

local TWO32 = 4294967296

-- A field's value, and the range of its bytes. Who calls has seen that they are there.
local function read(tvb, at, f)
    local first = math.floor(f.at / 8)
    local range = tvb(at + first, math.floor((f.at + f.bits - 1) / 8) - first + 1)
    local v = range:le_uint64()
    if f.at % 8 > 0 then v = v:rshift(f.at % 8) end
    if f.mask then v = v:band(f.mask) end
    if f.bits > 32 then return v, range end
    v = v:tonumber()
    if f.show == "signed" and v >= TWO32 / 2 then v = v - TWO32 end
    return v, range
end

-- Adds a layout to the tree; its values by name.
local function add_layout(tree, tvb, at, layout)
    local values = {}
    for _, f in ipairs(layout.fields) do
        local v, range = read(tvb, at, f)
        values[f.name] = v
        if f.show == "flag" then
            tree:add(f.field, range, v == 1)
        else
            tree:add(f.field, range, v)
        end
    end
    return values
end

local function is_zero(v)
    return type(v) == "number" and v == 0 or type(v) ~= "number" and v == UInt64(0)
end

-- Is a field set that has to be 0?
local function reserved_set(layout, values)
    for _, f in ipairs(layout.fields) do
        if f.role == "reserved" and not is_zero(values[f.name]) then return true end
    end
    return false
end

local function hex(v)
    if type(v) == "number" then return string.format("0x%x", v) end
    return "0x" .. (v:tohex():gsub("^0+(.)", "%1"))
end

local crc_table = {}
for n = 0, 255 do
    local crc = n
    for _ = 1, 8 do
        local low = crc % 2
        crc = bit.rshift(crc, 1)
        if low == 1 then crc = bit.bxor(crc, 0x82F63B78) end
    end
    crc_table[n] = crc
end

-- Over a frame whose CRC field counts as 0.
local function crc32c(bytes)
    local crc = 0xFFFFFFFF
    bytes = bytes:sub(1, WIRE.crc_offset) .. "\0\0\0\0" .. bytes:sub(WIRE.crc_offset + 5)
    for n = 1, #bytes do
        crc = bit.bxor(bit.rshift(crc, 8), crc_table[bit.band(bit.bxor(crc, bytes:byte(n)), 0xFF)])
    end
    return bit.bnot(crc) % TWO32
end

local function fnv1a(...)
    local h = 0x811C9DC5
    for _, byte in ipairs({ ... }) do
        h = bit.bxor(h, byte) % TWO32
        h = (h * 0x193 + (h % 256) * 16777216) % TWO32 -- times 0x01000193
    end
    return h
end

-- ---- verdicts, in the order and the words of wire.c ----------------------------------------------

local function group_fits(h)
    return h.first == 1 and h.last == 1 and h.syn == 0 and h.ack_valid == 0 and h.eack == 0 and h.rst == 0
        and h.nul == 0 and not h.part and h.cls == 0 and h.credit == 0 and h.seq == 0 and h.ack == 0
        and h.src < WIRE.nodes_max
end

local function ping_fits(h)
    local by = h.credit == 0
    if h.ack_valid == 1 then by = h.credit == 1 or h.credit == 2 end
    return by and h.cls == 0 and h.data_len == 0 and h.first == 0 and h.last == 0 and h.rst == 0
        and h.eack == 0 and not h.part
end

local function part_fits(h)
    return h.syn == 0 and h.data_len > 0 and h.data_len < h.part_of and h.part_at + h.data_len <= h.part_of
        and h.part_of <= WIRE.data_max
end

local function ranges_fit(h)
    if h.dst == WIRE.dst_group then return group_fits(h) end
    if h.src >= WIRE.nodes_max or h.dst >= WIRE.nodes_max then return false end
    if h.data_len == 0 and h.syn == 0 and h.rst == 0 and h.nul == 0 and h.ack_valid == 0 then return false end
    if h.syn == 1 and h.nul == 1 then return ping_fits(h) end
    if h.syn == 1 and (h.rst == 1 or h.eack == 1) then return false end
    if (h.rst == 1 or h.nul == 1) and h.data_len ~= 0 then return false end
    if (h.first == 1 or h.last == 1) and h.data_len == 0 then return false end
    if h.ack_valid == 0 and (h.eack == 1 or (h.data_len ~= 0 and h.syn == 0)) then return false end
    return not h.part or part_fits(h)
end

-- "": nothing is wrong.
local MAY_FLAG = { grant = true, data = true, fwd_getm = true, inv_ack = true }
local MAY_COUNT = { grant = true, data = true, fwd_getm = true }
local HAS_AGE = { gets = true, getm = true, fwd_gets = true, fwd_getm = true, inv = true }
local CHECKS = {}

function CHECKS.COH(m, kind)
    if (m.zero == 1 or m.exclusive == 1) and not MAY_FLAG[kind.name] then return "reserved" end
    if m.acks ~= 0 and not MAY_COUNT[kind.name] then return "reserved" end
    if m.age ~= 0 and not HAS_AGE[kind.name] then return "reserved" end
    return m.requester >= WIRE.nodes_max and "range" or ""
end

function CHECKS.GLUE(m)
    if not is_zero(m.reserved) then return "reserved" end
    return m.chan >= WIRE.vcpus_max and m.chan ~= WIRE.chan_vm and "range" or ""
end

function CHECKS.CLOCK(m, kind, payload_len)
    if m.khz == 0 then return "range" end
    return kind.payload == "bytes" and payload_len ~= LAYOUTS.time_rep.stop and "length" or ""
end

local function bits_set(n)
    local count = 0
    while n > 0 do
        count, n = count + n % 2, math.floor(n / 2)
    end
    return count
end

-- Stamps do not go back, modulo 2^64. Of a message that is cut those that are there.
local function stamps_ordered(rows)
    for i = 2, #rows do
        if (rows[i].stamp - rows[i - 1].stamp):higher() >= 0x80000000 then return false end
    end
    return true
end

function CHECKS.SPAN(m, _, payload_len)
    local n = bits_set(m.points)
    if m.flags > WIRE.span_flags or not is_zero(m.reserved) then return "reserved" end
    if m.what >= WIRE.span_whats or is_zero(m.id) or n < 1 or n > WIRE.span_stamps then return "range" end
    if m.chan >= WIRE.vcpus_max and m.chan ~= WIRE.chan_vm then return "range" end
    if payload_len ~= n * LAYOUTS.stamp.stop then return "length" end
    return stamps_ordered(m.rows) and "" or "range"
end

local function payload_fits(kind, len)
    if kind.payload == "none" then return len == 0 end
    if kind.payload == "page" then return len == WIRE.page_size end
    return len <= WIRE.bytes_max
end

-- Of a message whose end is not seen, the length that it may have.
local function payload_len(kind, len, whole)
    if whole or kind.payload == "bytes" then return len - WIRE.msg_header end
    return kind.payload == "page" and WIRE.page_size or 1
end

-- ---- one line, as wire_msg_print and its like make it ---------------------------------------------

local PRINTERS = {}

function PRINTERS.COH(m)
    local s = string.format(" p=%s r=%d txn=%s v=%s", hex(m.page), m.requester, tostring(m.txn), tostring(m.version))
    if m.age ~= 0 then s = s .. " age=" .. m.age end
    if m.acks ~= 0 then s = s .. " acks=" .. m.acks end
    if m.zero == 1 then s = s .. " zero" end
    if m.exclusive == 1 then s = s .. " excl" end
    return s
end

function PRINTERS.GLUE(m)
    local chan = m.chan == WIRE.chan_vm and "vm" or tostring(m.chan)
    return string.format(" chan=%s op=%d seq=%.0f arg=%s", chan, m.op, m.seq, hex(m.arg))
end

function PRINTERS.CLOCK(m)
    local s = string.format(" seq=%.0f khz=%.0f rate=%d stamp=%s", m.seq, m.khz, m.rate, hex(m.stamp))
    if m.generation then s = s .. string.format(" gen=%.0f", m.generation) end
    return s
end

function PRINTERS.SPAN(m)
    local chan = m.chan == WIRE.chan_vm and "none" or tostring(m.chan)
    local first = m.rows[1] and hex(m.rows[1].stamp) or "?"
    local s = string.format(" what=%d chan=%s id=%s points=%s at=%s", m.what, chan, tostring(m.id), hex(m.points), first)
    if m.flags % 2 == 1 then s = s .. " again" end
    if math.floor(m.flags / 2) % 2 == 1 then s = s .. " merged" end
    return s
end

-- Families without a line of their own.
local function print_any(m, layout)
    local s = ""
    for _, f in ipairs(layout.fields) do
        if f.role ~= "reserved" then
            local v = m[f.name]
            s = s .. " " .. f.name .. "=" .. (f.show == "hex" and hex(v) or tostring(v))
        end
    end
    return s
end

local function age_us(age)
    local one = 2 ^ WIRE.age_mantissa
    local exponent, us = math.floor(age / one), age % one
    return exponent == 0 and us or (one + us) * 2 ^ (exponent - 1)
end

-- ---- messages ------------------------------------------------------------------------------------

-- What all of a family's messages have; its values.
local function add_header(tree, tvb, at, kind)
    local family = FAMILIES[kind.family]
    local layout = LAYOUTS[family.header]
    local m = add_layout(tree, tvb, at, layout)
    if m.age and m.age ~= 0 then tree:add(made.age_us, UInt64(age_us(m.age) % TWO32, age_us(m.age) / TWO32)) end
    return m, layout, LAYOUTS[family.payload or ""]
end

-- Payload in the layout of its family, as often as it is there whole: all of them in m.rows, the values of the last
-- in m too; whether a reserved field is set.
local function add_payload(tree, tvb, at, len, layout, m)
    local set, done = false, 0
    m.rows = {}
    while layout and len - done >= layout.stop do
        local v = add_layout(tree, tvb, at + done, layout)
        for name, value in pairs(v) do
            if name ~= "reserved" then m[name] = value end
        end
        m.rows[#m.rows + 1] = v
        set = set or reserved_set(layout, v)
        done = done + layout.stop
    end
    if len > done then tree:add(made.payload, tvb(at + done, len - done)) end
    return set
end

local function endpoint_message(tree, tvb, at, have)
    tree:add(made.message, tvb(at, 1), "endpoint")
    if have < 2 then return "endpoint" end
    tree:add(made.endpoint_len, tvb(at + 1, 1))
    return string.format("endpoint len=%d", tvb(at + 1, 1):uint())
end

-- A segment that begins a message: `have` bytes of it are captured at `at`, `len` were sent. whole: it is all of the
-- message. The line for the info column, and the verdict.
local function message(tree, tvb, at, have, len, cls, whole)
    if have >= 1 and tvb(at, 1):uint() == WIRE.endpoint_kind then
        return endpoint_message(tree, tvb, at, have), "endpoint"
    end
    if len < WIRE.msg_header then return "message", "short" end
    if have < WIRE.msg_header then return "message", "cut" end
    local head = add_layout(tree, tvb, at, LAYOUTS.msg)
    local kind = KINDS[head.kind]
    if not kind then return string.format("kind? 0x%02x", head.kind), "kind" end
    local m, layout, payload = add_header(tree, tvb, at, kind)
    local set = add_payload(tree, tvb, at + WIRE.msg_header, have - WIRE.msg_header, payload, m)
    local line = kind.name .. (PRINTERS[kind.family] or print_any)(m, layout)
    tree:add(made.message, tvb(at, WIRE.msg_header), kind.name)
    local verdict = "ok"
    if kind.class ~= cls then
        verdict = "class"
    elseif not payload_fits(kind, payload_len(kind, len, whole)) then
        verdict = "length"
    else
        local wrong = CHECKS[kind.family] and CHECKS[kind.family](m, kind, payload_len(kind, len, whole)) or ""
        if wrong == "" and (set or reserved_set(layout, m)) then wrong = "reserved" end
        verdict = wrong ~= "" and wrong or verdict
    end
    return line, verdict
end

-- ---- segments of longer messages -------------------------------------------------------------------

-- By connection and class, by sequence number: what a capture has of the frames with data.
local seen = {}

function pando.init()
    seen = {}
end

local function remember(pinfo, h, line)
    local key = string.format("%d/%d/%d/%.0f", h.src, h.dst, h.cls, h.tag)
    seen[key] = seen[key] or {}
    local frames = seen[key]
    if not h.part and not frames[h.seq] then
        frames[h.seq] = { number = pinfo.number, len = h.data_len, first = h.first == 1, line = line }
    elseif not h.part and h.first == 1 and frames[h.seq].number == pinfo.number then
        frames[h.seq].line = line
    end
    return frames
end

-- The frame that begins the message of this one, and how many bytes lie between; nil: not captured.
local function find_first(frames, seq)
    local offset = 0
    for back = 1, WIRE.segments_max do
        local before = frames[(seq - back) % TWO32]
        if not before then return nil end
        offset = offset + before.len
        if before.first then return before, offset end
    end
    return nil
end

-- A segment in a message's middle or at its end.
local function continuation(tree, tvb, at, have, frames, h)
    if have > 0 then tree:add(made.payload, tvb(at, have)) end
    local first, offset
    if h.first == 0 then first, offset = find_first(frames, h.seq) end
    if h.first == 1 then return string.format("part at %d of %d, seq=%.0f", h.part_at, h.part_of, h.seq) end
    if not first then return string.format("continuation seq=%.0f, %d bytes", h.seq, h.data_len) end
    offset = offset + (h.part and h.part_at or 0)
    tree:add(made.begins, first.number):set_generated()
    tree:add(made.offset, offset):set_generated()
    return string.format("%s (bytes %d..%d)", first.line or "continuation", offset, offset + h.data_len - 1)
end

-- ---- frames ------------------------------------------------------------------------------------------

local function verdict_of(tree, result, text, what)
    tree:add(result, text):set_generated()
    if text == "crc" then
        tree:add_proto_expert_info(expert_crc)
    elseif text == "cut" then
        tree:add_proto_expert_info(expert_cut)
    elseif text ~= "ok" and text ~= "endpoint" then
        tree:add_proto_expert_info(expert_malformed, what .. " refused by Pando: " .. text)
    end
end

local function group(tree, tvb, at, have, h)
    local head, entry = LAYOUTS.group.stop, LAYOUTS.entry.stop
    if h.data_len < head then return "group", "length" end
    if have < head then return "group", "cut" end
    local members, names, n = add_layout(tree, tvb, at, LAYOUTS.group).members, {}, 0
    for node = 0, 63 do
        if members:rshift(node):band(UInt64(1)) == UInt64(1) then
            names[#names + 1] = node
            n = n + 1
            if have >= head + entry * n then
                local item = tree:add(pando, tvb(at + head + entry * (n - 1), entry), "for node " .. node)
                add_layout(item, tvb, at + head + entry * (n - 1), LAYOUTS.entry)
            end
        end
    end
    head = head + entry * n
    if n == 0 or h.data_len < head + WIRE.msg_header or h.data_len > head + WIRE.group_msg_max then
        return "group", "length"
    end
    if have <= head then return "group", "cut" end
    local line, verdict =
        message(tree, tvb, at + head, have - head, h.data_len - head, 0, true)
    return line .. " to {" .. table.concat(names, " ") .. "}", verdict
end

local function set_up(tree, tvb, at, have, h)
    if h.data_len < LAYOUTS.syn.stop then return "syn", "short" end
    if have < LAYOUTS.syn.stop then return "syn", "cut" end
    local s = add_layout(tree, tvb, at, LAYOUTS.syn)
    return string.format("syn revision=%d nodes=%d mtu=%d heard=%d epoch=%s echo=%s", s.revision, s.nodes, s.mtu,
        s.heard, tostring(s.epoch), tostring(s.echo_epoch)), "ok"
end

-- A frame without data.
local function control(h)
    if h.syn == 1 and h.nul == 1 then
        local by = h.credit == 1 and "kernel" or "process"
        if h.ack_valid == 1 then return string.format("host_pong id=%.0f stamp=%.0f by=%s", h.seq, h.ack, by) end
        return string.format("host_ping id=%.0f stamp=%.0f", h.seq, h.ack)
    end
    if h.rst == 1 then return h.nul == 1 and "closed" or "rst" end
    if h.nul == 1 then return string.format("nul ack=%.0f credit=%d", h.ack, h.credit) end
    local s = string.format("ack class=%s ack=%.0f credit=%d", CLASSES[h.cls], h.ack, h.credit)
    return h.eack_bits and s .. " eack=" .. hex(h.eack_bits) or s
end

-- Header, and what follows it; "": go on.
local function header(tree, tvb, len)
    local have = tvb:len()
    if len < WIRE.header then return nil, "short" end
    if have < WIRE.header then return nil, "cut" end
    local h = add_layout(tree, tvb, 0, LAYOUTS.rrdp)
    local bytes = h.words * 4
    h.bytes = bytes
    h.part = h.eack == 0 and bytes == WIRE.header_part
    if not h.part and bytes ~= (h.eack == 1 and WIRE.header_max or WIRE.header) or bytes + h.data_len > len then
        return h, "length"
    end
    if have < bytes then return h, "cut" end
    if h.eack == 1 then h.eack_bits = add_layout(tree, tvb, WIRE.header, LAYOUTS.eack).eack_bits end
    if h.part then
        local part = add_layout(tree, tvb, WIRE.header, LAYOUTS.part)
        h.part_at, h.part_of = part.part_at, part.part_of
    end
    if have < bytes + h.data_len then return h, "cut" end
    if pando.prefs.check_crc then
        local good = crc32c(tvb:raw(0, bytes + h.data_len)) == h.crc
        tree:add(made.crc_good, tvb(WIRE.crc_offset, 4), good):set_generated()
        if not good then return h, "crc" end
    end
    if h.version ~= WIRE.version then return h, "version" end
    if h.aead == 1 or h.reserved == 1 then return h, "reserved" end
    return h, ranges_fit(h) and "ok" or "range"
end

-- The segment bytes of a frame whose header can be believed, as far as they are captured.
local function segment(tree, tvb, pinfo, h)
    local at, have = h.bytes, math.min(tvb:len() - h.bytes, h.data_len)
    if h.data_len == 0 then return control(h) end
    if h.syn == 1 then return set_up(tree, tvb, at, have, h) end
    if h.dst == WIRE.dst_group then return group(tree, tvb, at, have, h) end
    local frames = remember(pinfo, h)
    local before = frames[h.seq]
    if before and not h.part and before.number < pinfo.number then
        tree:add(made.again, before.number):set_generated()
        tree:add_proto_expert_info(expert_again)
    end
    if h.first == 0 or (h.part and h.part_at > 0) then return continuation(tree, tvb, at, have, frames, h) end
    local len = h.part and h.part_of or h.data_len
    local line, verdict = message(tree, tvb, at, have, len, h.cls, h.last == 1)
    remember(pinfo, h, line)
    return line, verdict
end

local function carried(tree, pinfo, h)
    if pinfo.port_type ~= 3 then -- not by UDP
        tree:add(made.link, "ethernet"):set_generated()
        return
    end
    local v6 = tostring(pinfo.net_src):find(":", 1, true) ~= nil
    tree:add(made.link, v6 and "udp6" or "udp4"):set_generated()
    if h then
        local flow = fnv1a(h.dst, h.cls)
        local port = WIRE.source_port + bit.band(bit.bxor(flow, bit.rshift(flow, 14)), 0x3FFF)
        tree:add(made.flow, pinfo.src_port == port):set_generated()
    end
end

function pando.dissector(tvb, pinfo, root)
    local len = tvb:reported_len()
    pinfo.cols.protocol = "Pando"
    local tree = root:add(pando, tvb())
    local h, verdict = header(tree, tvb, len)
    verdict_of(tree, made.verdict, verdict, "frame")
    carried(tree, pinfo, h)
    if not h then
        pinfo.cols.info = verdict
        return tvb:len()
    end
    tree:append_text(string.format(", node %d to %s", h.src, h.dst == WIRE.dst_group and "several" or h.dst))
    if verdict ~= "ok" and (verdict ~= "cut" or tvb:len() < h.bytes) then
        pinfo.cols.info = "refused: " .. verdict
        return tvb:len()
    end
    local line, said = segment(tree, tvb, pinfo, h)
    if said then verdict_of(tree, made.message_verdict, said, h.syn == 1 and "SYN" or "message") end
    pinfo.cols.info = line
    tree:append_text(": " .. line)
    local stop = h.bytes + h.data_len
    if tvb:len() > stop then tree:add(made.padding, tvb(stop, tvb:len() - stop)) end
    return tvb:len()
end

-- ---- where frames are found ----------------------------------------------------------------------------

local tables = { ethertype = DissectorTable.get("ethertype"), udp_port = DissectorTable.get("udp.port") }
local added = {}

local function find_frames()
    for name, dissectors in pairs(tables) do
        local wanted = pando.prefs[name]
        if added[name] ~= wanted then
            if added[name] then dissectors:remove(added[name], pando) end
            dissectors:add(wanted, pando)
            added[name] = wanted
        end
    end
end

pando.prefs_changed = find_frames
find_frames()
