-- SPDX-License-Identifier: BSD-3-Clause
--
-- The coherence protocol of dataplane/coherence/coherence.h for rumur (a Murphi model checker).
--
-- A rule is what coh_step does for one event at one node, about one page; messages of a home to itself
-- are handled at its end, in their order, as there. What the code leaves to time or to a vCPU is left open here:
-- faults, evictions, when an edge action takes effect and when its completion is told, whether residency
-- keeps a message (hold), whether a read asks as a write does (guess).
--
-- Transport: exactly once and in order for each pair of nodes and class; nothing across.
-- Versions are kept as ages, how many writes the home has ordered since, up to AMAX ("that or more"), so
-- that the state space is finite without a bound on writes; where an age of AMAX would decide, that is an error.
-- What the code counts as a dropped message is an error here: honest nodes send none.
-- Transaction ids are not here: invariant "one transaction" says that no message of an old one is left
-- when its requester begins anew.
--
-- tests/model/run.py sets the constants and names the variants.

const
  NODES: 3;
  PAGES: 1;
  EPOCHS: 1;
  AMAX: 4;
  URGENTS: 4;    -- messages in one channel; the model fails where that is too few
  BYTESES: 2;
  SELF: 3;
  PARK: 2;       -- parked messages of a page at a node; likewise
  EVICT: true;   -- nodes replace pages
  GUESS: true;   -- reads may ask as writes do
  EDGES: true;   -- an edge action takes effect some time before its completion is told
  SERVED: false; -- look for it, too
  EARLY_ACK: false;   -- negative control: INV is acknowledged before the mapping is gone
  OLD_EPOCH: false;   -- negative control: messages of an old epoch are taken
  EARLY_DATA: false;  -- negative control: a page is handed over before its mapping is gone
  EARLY_GRANT: false; -- negative control: a write is granted before all have acknowledged

type
  Node: scalarset(NODES);
  Page: scalarset(PAGES);
  Epoch: 0..EPOCHS-1;
  Age: 0..AMAX;
  Acks: 0..NODES;
  Kind: enum { GETS, GETM, PUTS, PUTM, PUTO, FWD_GETS, FWD_GETM, INV, GRANT, PUT_ACK, DATA, INV_ACK };
  State: enum { I, S, M, IS_D, IS_P, IM_AD, IM_P, SM_AD, SM_A, SM_IU, MS_P, SI_U, OI_U, MI_U,
                SE_U, OE_U, ME_U, SE_A, OE_A, ME_A, IE_A };
  DirState: enum { ZERO, OWNED, MODIFIED };
  Cell: enum { NONE, DEFER, SERVE };
  Mapping: enum { UNMAPPED, READABLE, WRITABLE };
  Edge: enum { E_NONE, E_MAP_RO, E_MAP_RW, E_PROTECT, E_UNMAP };
  Want: enum { W_NO, W_READ, W_WRITE };

  -- The three classes of the transport. The requester of a request and of PUTM, PUTO is its sender,
  -- that of DATA and INV_ACK its receiver.
  Urgent: record
    kind: Kind;      -- FWD_GETS, FWD_GETM, INV, GRANT, PUT_ACK, INV_ACK
    page: Page;
    requester: Node;
    age: Age;        -- of its version
    acks: Acks;
    exclusive: boolean;
    zero: boolean;
    epoch: Epoch;    -- of the sender
  end;
  Request: record
    kind: Kind;      -- GETS, GETM, PUTS
    page: Page;
    age: Age;
    epoch: Epoch;
  end;
  Bytes: record
    kind: Kind;      -- DATA, PUTM, PUTO
    page: Page;
    age: Age;
    acks: Acks;
    exclusive: boolean;
    fresh: boolean;  -- they are what was written last
    epoch: Epoch;
  end;
  Channel: record
    nu: 0..URGENTS;
    u: array [0..URGENTS-1] of Urgent;
    nr: 0..PAGES;
    r: array [0..PAGES-1] of Request;
    nb: 0..BYTESES;
    b: array [0..BYTESES-1] of Bytes;
  end;

  ToSelf: record     -- of a home to its own node; empty between steps
    kind: Kind;
    page: Page;
    requester: Node;
    age: Age;
    acks: Acks;
    exclusive: boolean;
    zero: boolean;
  end;

  Parked: record
    kind: Kind;      -- FWD_GETS, FWD_GETM, INV
    requester: Node;
    age: Age;
    acks: Acks;
  end;

  Entry: record -- cache side: struct coh_entry and struct coh_rec
    st: State;
    owner: boolean;
    age: Age;
    want: Want;
    count_known: boolean;
    acks: Acks;
    acked: array [Node] of boolean;
    zero: boolean;
    serving: boolean;
    serve_requester: Node;
    serve_acks: Acks;
    parks: 0..PARK;
    parked: array [0..PARK-1] of Parked;
    edge: Edge;
    effect: boolean;  -- of the edge action: it has taken effect, the core does not know
    map: Mapping;
    fresh: boolean;   -- the frame holds what was written last
  end;

  Directory: record
    st: DirState;
    owner: Node;
    sharer: array [Node] of boolean;
  end;

var
  home: array [Page] of Node;
  e: array [Node] of array [Page] of Entry;
  d: array [Page] of Directory;
  ch: array [Node] of array [Node] of Channel; -- from, to
  self_n: 0..SELF;
  self: array [0..SELF-1] of ToSelf;
  zero_fresh: array [Epoch] of array [Page] of boolean; -- nothing was ever written
  epoch: array [Node] of Epoch;
  up: array [Node] of boolean;          -- runs: neither crashed nor stopped
  crashed: boolean;

-- ---- messages --------------------------------------------------------------------------------

procedure urgent(src: Node; dst: Node; k: Kind; p: Page; requester: Node; age: Age; acks: Acks;
                 exclusive: boolean; zero: boolean);
begin
  alias c: ch[src][dst] do
    assert src != dst "a message to self goes through no channel";
    if c.nu = URGENTS then error "URGENTS is too small"; end;
    c.u[c.nu].kind := k;
    c.u[c.nu].page := p;
    c.u[c.nu].requester := requester;
    c.u[c.nu].age := age;
    c.u[c.nu].acks := acks;
    c.u[c.nu].exclusive := exclusive;
    c.u[c.nu].zero := zero;
    c.u[c.nu].epoch := epoch[src];
    c.nu := c.nu + 1;
  end;
end;

procedure request_to(src: Node; dst: Node; k: Kind; p: Page; age: Age);
begin
  alias c: ch[src][dst] do
    if c.nr = PAGES then error "a node has two requests for a page"; end;
    c.r[c.nr].kind := k;
    c.r[c.nr].page := p;
    c.r[c.nr].age := age;
    c.r[c.nr].epoch := epoch[src];
    c.nr := c.nr + 1;
  end;
end;

procedure to_self(k: Kind; p: Page; requester: Node; age: Age; acks: Acks; exclusive: boolean; zero: boolean);
begin
  if self_n = SELF then error "SELF is too small"; end;
  self[self_n].kind := k;
  self[self_n].page := p;
  self[self_n].requester := requester;
  self[self_n].age := age;
  self[self_n].acks := acks;
  self[self_n].exclusive := exclusive;
  self[self_n].zero := zero;
  self_n := self_n + 1;
end;

procedure bytes(src: Node; dst: Node; k: Kind; p: Page; age: Age; acks: Acks; exclusive: boolean);
begin
  alias c: ch[src][dst] do
    assert src != dst "bytes to self";
    if c.nb = BYTESES then error "BYTESES is too small"; end;
    c.b[c.nb].kind := k;
    c.b[c.nb].page := p;
    c.b[c.nb].age := age;
    c.b[c.nb].acks := acks;
    c.b[c.nb].exclusive := exclusive;
    c.b[c.nb].fresh := e[src][p].fresh;
    c.b[c.nb].epoch := epoch[src];
    c.nb := c.nb + 1;
  end;
end;

-- ---- cache side ------------------------------------------------------------------------------

function column(st: State; k: Kind): Cell;
begin
  switch k
    case FWD_GETS:
      switch st
        case S, M, SM_AD, SE_U, OE_U, OE_A, ME_A: return SERVE;
        case IS_D, IS_P, IM_AD, IM_P, SM_A, SM_IU, MS_P, ME_U: return DEFER;
        else return NONE;
      end;
    case FWD_GETM:
      switch st
        case S, M, SM_AD, SE_U, OE_U, ME_U, OE_A, ME_A: return SERVE;
        case IS_D, IS_P, IM_AD, IM_P, SM_A, SM_IU, MS_P: return DEFER;
        else return NONE;
      end;
    else -- INV
      switch st
        case S, SM_AD, SE_U, OE_U, SE_A, OE_A: return SERVE;
        case IS_D, IS_P, IM_AD, IM_P, SM_A, SM_IU, MS_P, ME_U: return DEFER;
        else return NONE;
      end;
  end;
end;

-- Residency may keep it for a time.
function can_hold(st: State; k: Kind): boolean;
begin
  return st = M | (st = S & k != FWD_GETS);
end;

function stable(st: State): boolean;
begin
  return st = I | st = S | st = M;
end;

function is_forward(k: Kind): boolean;
begin
  return k = FWD_GETS | k = FWD_GETM | k = INV;
end;

procedure edge_action(n: Node; p: Page; a: Edge);
begin
  assert e[n][p].edge = E_NONE "two edge actions are open for a page";
  e[n][p].edge := a;
end;

procedure enter(n: Node; p: Page; next: State);
begin
  e[n][p].st := next;
  if next = I then
    e[n][p].fresh := false;
    e[n][p].age := AMAX; -- the copy is gone; its version is asked for nothing but "newer than"
  end;
end;

procedure no_request(n: Node; p: Page);
begin
  e[n][p].count_known := false;
  e[n][p].acks := 0;
  e[n][p].zero := false;
  for i: Node do e[n][p].acked[i] := false; end;
end;

procedure serve_begin(n: Node; p: Page; requester: Node; acks: Acks);
begin
  assert !e[n][p].serving "one message of a page is served at a time";
  e[n][p].serving := true;
  e[n][p].serve_requester := requester;
  e[n][p].serve_acks := acks;
end;

procedure serve_end(n: Node; p: Page);
begin
  e[n][p].serving := false;
  undefine e[n][p].serve_requester;
  e[n][p].serve_acks := 0;
end;

procedure send_ack(n: Node; p: Page; requester: Node);
begin
  assert e[n][p].age > 0 & e[n][p].age < AMAX "the version that was invalidated is known";
  urgent(n, requester, INV_ACK, p, requester, e[n][p].age - 1, 0, false, false);
end;

procedure is_read_of_ours(n: Node; p: Page; age: Age);
begin
  if !e[n][p].owner then error "FWD_GETS to a node that is no owner"; end;
  if age != e[n][p].age | age = AMAX then error "FWD_GETS of another version"; end;
end;

procedure is_handover(n: Node; p: Page; age: Age; exclusive: boolean; shared: boolean);
begin
  if !e[n][p].owner then error "FWD_GETM to a node that is no owner"; end;
  if e[n][p].age = AMAX | e[n][p].age != age + 1 then error "FWD_GETM of another version"; end;
  if exclusive != shared then error "home and owner disagree on whether others may read"; end;
end;

-- The handlers of forwards.c, for a cell that is neither empty nor deferred.
procedure serve(n: Node; p: Page; k: Kind; requester: Node; age: Age; acks: Acks);
var st: State;
begin
  st := e[n][p].st;
  switch k
  case FWD_GETS:
    is_read_of_ours(n, p, age);
    if st = M then
      serve_begin(n, p, requester, acks);
      edge_action(n, p, E_PROTECT);
      enter(n, p, MS_P);
    else
      bytes(n, requester, DATA, p, age, 0, false);
      if st = ME_A then enter(n, p, OE_A); end;
    end;
  case FWD_GETM:
    switch st
    case S, SM_AD, SE_U, OE_U: -- others may read: data now, the ack when the mapping is gone
      is_handover(n, p, age, acks > 0, true);
      bytes(n, requester, DATA, p, age, acks, true);
      serve_begin(n, p, requester, acks);
      if st = S | st = SM_AD then edge_action(n, p, E_UNMAP); end;
      e[n][p].owner := false;
      if st = SM_AD then enter(n, p, SM_IU); else enter(n, p, OI_U); end;
    case M, ME_U:
      is_handover(n, p, age, acks > 0, false);
      if EARLY_DATA then bytes(n, requester, DATA, p, age, acks, true); end;
      serve_begin(n, p, requester, acks);
      if st = M then edge_action(n, p, E_UNMAP); end;
      enter(n, p, MI_U);
    case OE_A, ME_A:
      is_handover(n, p, age, acks > 0, st = OE_A);
      bytes(n, requester, DATA, p, age, acks, true);
      if acks > 0 then send_ack(n, p, requester); end;
      e[n][p].owner := false;
      enter(n, p, IE_A);
    end;
  else -- INV
    if e[n][p].age = AMAX | e[n][p].age != age + 1 then error "INV of another version"; end;
    e[n][p].owner := false;
    switch st
    case S, SM_AD, SE_U, OE_U:
      serve_begin(n, p, requester, acks);
      if EARLY_ACK then send_ack(n, p, requester); end;
      if st = S | st = SM_AD then edge_action(n, p, E_UNMAP); end;
      if st = SM_AD then enter(n, p, SM_IU); else enter(n, p, SI_U); end;
    case SE_A, OE_A:
      send_ack(n, p, requester);
      enter(n, p, IE_A);
    end;
  end;
end;

procedure park(n: Node; p: Page; k: Kind; requester: Node; age: Age; acks: Acks);
begin
  if e[n][p].parks = PARK then error "PARK is too small"; end;
  e[n][p].parked[e[n][p].parks].kind := k;
  e[n][p].parked[e[n][p].parks].requester := requester;
  e[n][p].parked[e[n][p].parks].age := age;
  e[n][p].parked[e[n][p].parks].acks := acks;
  e[n][p].parks := e[n][p].parks + 1;
end;

procedure serve_parked(n: Node; p: Page);
var m: Parked;
begin
  m := e[n][p].parked[0];
  for i := 0 to PARK - 1 do
    if i + 1 < e[n][p].parks then e[n][p].parked[i] := e[n][p].parked[i + 1]; end;
  end;
  e[n][p].parks := e[n][p].parks - 1;
  undefine e[n][p].parked[e[n][p].parks];
  if column(e[n][p].st, m.kind) = NONE then error "a parked message meets a state without a cell"; end;
  serve(n, p, m.kind, m.requester, m.age, m.acks);
end;

-- Arrival of FWD_GETS, FWD_GETM, INV.
procedure forward(n: Node; p: Page; k: Kind; requester: Node; age: Age; acks: Acks; hold: boolean);
var c: Cell;
begin
  c := column(e[n][p].st, k);
  if e[n][p].parks > 0 | c = DEFER | (hold & c = SERVE & can_hold(e[n][p].st, k)) then
    park(n, p, k, requester, age, acks);
  elsif c = NONE then
    error "a forward meets a state without a cell";
  else
    serve(n, p, k, requester, age, acks);
  end;
end;

-- ---- answers ---------------------------------------------------------------------------------

procedure complete_write(n: Node; p: Page);
var acks: Acks;
begin
  if (e[n][p].st = IM_AD | e[n][p].st = SM_A) & e[n][p].count_known then
    acks := 0;
    for i: Node do
      if e[n][p].acked[i] then acks := acks + 1; end;
    end;
    if acks = e[n][p].acks | EARLY_GRANT then
      e[n][p].owner := true;
      if e[n][p].zero then e[n][p].fresh := zero_fresh[epoch[n]][p]; end;
      if !EARLY_GRANT then no_request(n, p); end;
      edge_action(n, p, E_MAP_RW);
      enter(n, p, IM_P);
    end;
  end;
end;

procedure granted_write(n: Node; p: Page; age: Age; acks: Acks; zero: boolean);
begin
  if e[n][p].count_known then error "a write is granted twice"; end;
  e[n][p].count_known := true;
  e[n][p].acks := acks;
  e[n][p].zero := zero;
  e[n][p].age := age;
  if e[n][p].st = SM_AD then enter(n, p, SM_A); end;
  complete_write(n, p);
end;

procedure granted_read(n: Node; p: Page; age: Age; fresh: boolean);
begin
  if age > e[n][p].age then error "a read is answered with an old version"; end;
  e[n][p].age := age;
  e[n][p].fresh := fresh;
  edge_action(n, p, E_MAP_RO);
  enter(n, p, IS_P);
end;

procedure on_grant(n: Node; p: Page; age: Age; acks: Acks; exclusive: boolean; zero: boolean);
begin
  switch e[n][p].st
  case IS_D:
    if exclusive | !zero then error "GRANT: fields"; end;
    granted_read(n, p, age, zero_fresh[epoch[n]][p]);
  case IM_AD:
    if !exclusive | !zero then error "GRANT: fields"; end;
    if age >= e[n][p].age then error "GRANT of an old version"; end;
    granted_write(n, p, age, acks, zero);
  case SM_AD:
    if !exclusive | zero then error "GRANT: fields"; end;
    if e[n][p].age = AMAX | age + 1 != e[n][p].age then error "GRANT of another version"; end;
    granted_write(n, p, age, acks, zero);
  else
    error "GRANT meets a state without a cell";
  end;
end;

procedure on_data(n: Node; p: Page; age: Age; acks: Acks; exclusive: boolean; fresh: boolean);
begin
  switch e[n][p].st
  case IS_D:
    if exclusive then error "DATA: fields"; end;
    granted_read(n, p, age, fresh);
  case IM_AD:
    if !exclusive then error "DATA: fields"; end;
    if age >= e[n][p].age then error "DATA of an old version"; end;
    e[n][p].fresh := fresh;
    granted_write(n, p, age, acks, false);
  else
    error "DATA meets a state without a cell";
  end;
end;

procedure on_inv_ack(n: Node; p: Page; src: Node; age: Age);
begin
  switch e[n][p].st
  case IM_AD, SM_AD, SM_A, SM_IU:
    if e[n][p].acked[src] then error "a node acknowledges twice"; end;
    if e[n][p].count_known then
      if age != e[n][p].age then error "INV_ACK of another version"; end;
    elsif age >= e[n][p].age then
      error "INV_ACK of an old version";
    end;
    e[n][p].acked[src] := true;
    complete_write(n, p);
  else
    error "INV_ACK meets a state without a cell";
  end;
end;

procedure on_put_ack(n: Node; p: Page);
begin
  switch e[n][p].st
  case SE_A, OE_A, ME_A, IE_A:
    e[n][p].owner := false;
    enter(n, p, I);
  else
    error "PUT_ACK meets a state without a cell";
  end;
end;

procedure from_home(n: Node; p: Page; k: Kind; requester: Node; age: Age; acks: Acks;
                    exclusive: boolean; zero: boolean; hold: boolean);
begin
  switch k
    case GRANT: on_grant(n, p, age, acks, exclusive, zero);
    case PUT_ACK: on_put_ack(n, p);
    else forward(n, p, k, requester, age, acks, hold);
  end;
end;

-- ---- home side -------------------------------------------------------------------------------

procedure tell(p: Page; dst: Node; k: Kind; requester: Node; acks: Acks; exclusive: boolean; zero: boolean);
begin
  if dst = home[p] then
    to_self(k, p, requester, 0, acks, exclusive, zero);
  else
    urgent(home[p], dst, k, p, requester, 0, acks, exclusive, zero);
  end;
end;

procedure older(var age: Age);
begin
  if age < AMAX then age := age + 1; end;
end;

-- A write is ordered: every copy and message of the page (of the home's epoch) ages.
procedure next_version(p: Page);
var v: Epoch;
begin
  v := epoch[home[p]];
  for n: Node do
    if epoch[n] = v then
      older(e[n][p].age);
      for i := 0 to PARK - 1 do
        if i < e[n][p].parks then older(e[n][p].parked[i].age); end;
      end;
    end;
  end;
  for a: Node do for b: Node do alias c: ch[a][b] do
    for i := 0 to URGENTS - 1 do
      if i < c.nu & c.u[i].page = p & c.u[i].epoch = v then older(c.u[i].age); end;
    end;
    for i := 0 to PAGES - 1 do
      if i < c.nr & c.r[i].page = p & c.r[i].epoch = v then older(c.r[i].age); end;
    end;
    for i := 0 to BYTESES - 1 do
      if i < c.nb & c.b[i].page = p & c.b[i].epoch = v then older(c.b[i].age); end;
    end;
  end; end; end;
end;

procedure now_modified(p: Page; owner: Node);
begin
  d[p].st := MODIFIED;
  d[p].owner := owner;
  for i: Node do d[p].sharer[i] := i = owner; end;
end;

procedure invalidate(p: Page; requester: Node; but: Node; var acks: Acks);
begin
  acks := 0;
  for i: Node do
    if d[p].sharer[i] & i != but then
      acks := acks + 1;
      tell(p, i, INV, requester, 0, false, false);
    end;
  end;
end;

procedure home_gets(p: Page; src: Node);
begin
  if d[p].sharer[src] then error "GETS of a sharer"; end;
  d[p].sharer[src] := true;
  if d[p].st = ZERO then
    tell(p, src, GRANT, src, 0, false, true);
  else
    d[p].st := OWNED;
    tell(p, d[p].owner, FWD_GETS, src, 0, false, false);
  end;
end;

procedure home_getm(p: Page; src: Node);
var acks: Acks;
var owner: Node;
var zero: boolean;
begin
  if d[p].st = MODIFIED & d[p].owner = src then error "GETM of the sole owner"; end;
  next_version(p);
  acks := 0;
  if d[p].st = ZERO | (d[p].st = OWNED & d[p].sharer[src]) then
    invalidate(p, src, src, acks);
    zero := !d[p].sharer[src];
    now_modified(p, src);
    tell(p, src, GRANT, src, acks, true, zero);
  else
    owner := d[p].owner;
    if d[p].st = OWNED then
      invalidate(p, src, owner, acks);
      acks := acks + 1; -- the owner's own
    end;
    now_modified(p, src);
    tell(p, owner, FWD_GETM, src, acks, acks > 0, false);
  end;
end;

procedure home_puts(p: Page; src: Node; age: Age);
begin
  if d[p].sharer[src] then
    if d[p].st != ZERO & d[p].owner = src then error "PUTS of the owner"; end;
    if age != 0 then error "PUTS of another version"; end;
  end;
  d[p].sharer[src] := false;
  tell(p, src, PUT_ACK, src, 0, false, false);
end;

procedure home_put(p: Page; src: Node; k: Kind; age: Age; fresh: boolean);
var h: Node;
begin
  h := home[p];
  if d[p].st = ZERO then
    error "PUTM or PUTO of a page that was never written";
  elsif !d[p].sharer[src] then
    tell(p, src, PUT_ACK, src, 0, false, false); -- stale: the data went to somebody else
  else
    if d[p].owner != src | (k = PUTO & d[p].st != OWNED) then error "PUT: directory"; end;
    if age != 0 then error "PUT of another version"; end;
    if (e[h][p].st = I) = d[p].sharer[h] then error "PUT: the home's own copy and its bit"; end;
    d[p].sharer[src] := false;
    d[p].sharer[h] := true;
    d[p].owner := h;
    d[p].st := OWNED;
    tell(p, src, PUT_ACK, src, 0, false, false);
    switch e[h][p].st
    case I:
      e[h][p].age := age;
      e[h][p].owner := true;
      e[h][p].fresh := fresh;
      edge_action(h, p, E_MAP_RO);
      enter(h, p, IS_P);
    case S, IS_D, IS_P, SE_U:
      e[h][p].owner := true;
    else
      error "PUT: the home's own copy cannot take it";
    end;
  end;
end;

procedure to_home(p: Page; src: Node; k: Kind; age: Age);
begin
  switch k
    case GETS: home_gets(p, src);
    case GETM: home_getm(p, src);
    else home_puts(p, src, age);
  end;
end;

-- ---- requests --------------------------------------------------------------------------------

-- Nothing of an earlier transaction of this node is left anywhere: ids need not be compared here.
procedure is_new(n: Node; p: Page);
begin
  for i: Node do
    if i != n & epoch[i] = epoch[n] then
      if e[i][p].serving then
        assert e[i][p].serve_requester != n "one transaction: somebody still serves an old one";
      end;
      for k := 0 to PARK - 1 do
        if k < e[i][p].parks then
          assert e[i][p].parked[k].requester != n "one transaction: one of old is parked";
        end;
      end;
    end;
  end;
  for a: Node do for b: Node do alias c: ch[a][b] do
    for i := 0 to URGENTS - 1 do
      if i < c.nu & c.u[i].page = p & c.u[i].epoch = epoch[n] then
        assert c.u[i].requester != n "one transaction: a message of an old one is on its way";
      end;
    end;
    for i := 0 to BYTESES - 1 do
      if i < c.nb & c.b[i].page = p & c.b[i].epoch = epoch[n] then
        assert (c.b[i].kind = DATA ? b : a) != n "one transaction: bytes of an old one are on their way";
      end;
    end;
  end; end; end;
end;

procedure ask(n: Node; p: Page; k: Kind; age: Age);
begin
  is_new(n, p);
  if k = PUTM | k = PUTO then
    -- a home that owns a page keeps it
    bytes(n, home[p], k, p, age, 0, false);
  elsif n = home[p] then
    to_self(k, p, n, age, 0, false, false);
  else
    request_to(n, home[p], k, p, age);
  end;
end;

procedure request(n: Node; p: Page; write: boolean);
begin
  no_request(n, p);
  if e[n][p].st = S then
    enter(n, p, SM_AD);
    -- what was parked was ordered before this request and is answered before it leaves
    while e[n][p].parks > 0 & column(e[n][p].st, e[n][p].parked[0].kind) != DEFER do
      serve_parked(n, p);
    end;
  elsif write then
    enter(n, p, IM_AD);
  else
    enter(n, p, IS_D);
  end;
  if write then ask(n, p, GETM, 0); else ask(n, p, GETS, 0); end;
end;

-- ---- completions -----------------------------------------------------------------------------

procedure evicted(n: Node; p: Page; k: Kind; next: State);
begin
  enter(n, p, next);
  ask(n, p, k, e[n][p].age);
end;

procedure completed(n: Node; p: Page; a: Edge);
var r: Node;
begin
  switch a
  case E_MAP_RO:
    assert e[n][p].st = IS_P "MAPPED";
    enter(n, p, S);
  case E_MAP_RW:
    assert e[n][p].st = IM_P "MAPPED";
    enter(n, p, M);
  case E_PROTECT:
    assert e[n][p].st = MS_P "PROTECTED";
    bytes(n, e[n][p].serve_requester, DATA, p, e[n][p].age, 0, false);
    serve_end(n, p);
    enter(n, p, S);
  else
    switch e[n][p].st
    case SI_U, OI_U:
      if !EARLY_ACK | e[n][p].st = OI_U then send_ack(n, p, e[n][p].serve_requester); end;
      serve_end(n, p);
      enter(n, p, I);
    case MI_U:
      assert e[n][p].age > 0 & e[n][p].age < AMAX "the version that is handed over is known";
      if !EARLY_DATA then
        bytes(n, e[n][p].serve_requester, DATA, p, e[n][p].age - 1, e[n][p].serve_acks, true);
      end;
      serve_end(n, p);
      e[n][p].owner := false;
      enter(n, p, I);
    case SM_IU:
      if !EARLY_ACK then send_ack(n, p, e[n][p].serve_requester); end;
      serve_end(n, p);
      e[n][p].fresh := false;
      enter(n, p, IM_AD);
      e[n][p].age := AMAX; -- as from I
    case SE_U:
      if e[n][p].owner | e[n][p].want != W_NO then
        edge_action(n, p, E_MAP_RO);
        enter(n, p, IS_P);
      else
        evicted(n, p, PUTS, SE_A);
      end;
    case OE_U:
      if e[n][p].want != W_NO then
        edge_action(n, p, E_MAP_RO);
        enter(n, p, IS_P);
      else
        evicted(n, p, PUTO, OE_A);
      end;
    case ME_U:
      if e[n][p].want != W_NO then
        edge_action(n, p, E_MAP_RW);
        enter(n, p, IM_P);
      else
        evicted(n, p, PUTM, ME_A);
      end;
    else
      error "UNMAPPED meets a state without a cell";
    end;
  end;
end;

procedure take_effect(n: Node; p: Page);
begin
  switch e[n][p].edge
    case E_MAP_RO: e[n][p].map := READABLE;
    case E_MAP_RW: e[n][p].map := WRITABLE;
    case E_PROTECT: e[n][p].map := READABLE;
    else e[n][p].map := UNMAPPED;
  end;
end;

-- ---- the end of a step ------------------------------------------------------------------------

-- Messages to self; faults that the mapping satisfies are over, others go on; what is parked and kept
-- by nothing is served.
procedure finish(n: Node; p: Page; guess: boolean; hold: boolean);
var go_on: boolean;
var m: ToSelf;
begin
  go_on := true;
  while go_on do
    go_on := false;
    if self_n > 0 then
      m := self[0];
      for i := 0 to SELF - 1 do
        if i + 1 < self_n then self[i] := self[i + 1]; end;
      end;
      self_n := self_n - 1;
      undefine self[self_n];
      go_on := true;
      switch m.kind
        case GETS, GETM, PUTS: to_home(p, n, m.kind, m.age);
        else from_home(n, p, m.kind, m.requester, m.age, m.acks, m.exclusive, m.zero, hold);
      end;
    elsif e[n][p].want != W_NO & stable(e[n][p].st) then
      if e[n][p].st = M | (e[n][p].st = S & e[n][p].want = W_READ) then
        e[n][p].want := W_NO;
      else
        request(n, p, e[n][p].want = W_WRITE | (e[n][p].st = I & guess));
      end;
      go_on := true;
    elsif e[n][p].parks > 0 then
      if column(e[n][p].st, e[n][p].parked[0].kind) != DEFER
          & !can_hold(e[n][p].st, e[n][p].parked[0].kind) then
        serve_parked(n, p);
        go_on := true;
      end;
    end;
  end;
end;

-- ---- start -----------------------------------------------------------------------------------

procedure boot(n: Node);
begin
  up[n] := true;
  for p: Page do
    undefine e[n][p];
    e[n][p].st := I;
    e[n][p].owner := false;
    e[n][p].age := AMAX;
    e[n][p].want := W_NO;
    no_request(n, p);
    e[n][p].serving := false;
    e[n][p].serve_acks := 0;
    e[n][p].parks := 0;
    e[n][p].edge := E_NONE;
    e[n][p].effect := false;
    e[n][p].map := UNMAPPED;
    e[n][p].fresh := false;
  end;
end;

procedure empty_channel(src: Node; dst: Node);
begin
  undefine ch[src][dst];
  ch[src][dst].nu := 0;
  ch[src][dst].nr := 0;
  ch[src][dst].nb := 0;
end;

procedure empty_directory(p: Page);
begin
  undefine d[p];
  d[p].st := ZERO;
  for i: Node do d[p].sharer[i] := false; end;
end;

procedure start_all();
begin
  self_n := 0;
  undefine self;
  for p: Page do
    empty_directory(p);
    for v: Epoch do zero_fresh[v][p] := true; end;
  end;
  for n: Node do
    epoch[n] := 0;
    boot(n);
    for i: Node do
      empty_channel(n, i);
    end;
  end;
  crashed := false;
end;

ruleset h: Node; others: Node do
  startstate "all pages are zero, nobody has any"
  var first: boolean;
  begin
    first := true;
    for p: Page do
      home[p] := first ? h : others;
      first := false;
    end;
    start_all();
  end;
end;

-- All nodes run, and in the same epoch: a VM starts again only then.
function one_life(): boolean;
begin
  return forall n: Node do forall i: Node do up[n] & epoch[n] = epoch[i] end end;
end;

function nothing_on_its_way(p: Page): boolean;
begin
  for a: Node do for b: Node do alias c: ch[a][b] do
    for i := 0 to URGENTS - 1 do
      if i < c.nu & c.u[i].page = p & c.u[i].epoch = epoch[a] then return false; end;
    end;
    for i := 0 to PAGES - 1 do
      if i < c.nr & c.r[i].page = p & c.r[i].epoch = epoch[a] then return false; end;
    end;
    for i := 0 to BYTESES - 1 do
      if i < c.nb & c.b[i].page = p & c.b[i].epoch = epoch[a] then return false; end;
    end;
  end; end; end;
  return true;
end;

-- ---- the rules -------------------------------------------------------------------------------

ruleset n: Node; p: Page; w: boolean; guess: boolean do
  rule "fault"
    up[n] & e[n][p].want = W_NO & (!guess | (GUESS & !w & e[n][p].st = I))
      & e[n][p].st != M & (w | e[n][p].st != S) & (epoch[n] = 0 | one_life())
  ==>
  begin
    if w then e[n][p].want := W_WRITE; else e[n][p].want := W_READ; end;
    finish(n, p, guess, false);
  end;
end;

ruleset n: Node; p: Page do
  rule "another vCPU of the node wants to write, too"
    up[n] & e[n][p].want = W_READ
  ==>
  begin
    e[n][p].want := W_WRITE;
  end;

  rule "store"
    up[n] & e[n][p].map = WRITABLE
  ==>
  begin
    for i: Node do
      if i != n & epoch[i] = epoch[n] then e[i][p].fresh := false; end;
    end;
    for a: Node do for b: Node do alias c: ch[a][b] do
      for i := 0 to BYTESES - 1 do
        if i < c.nb & c.b[i].page = p & c.b[i].epoch = epoch[n] then c.b[i].fresh := false; end;
      end;
    end; end; end;
    zero_fresh[epoch[n]][p] := false;
  end;

  rule "edge action takes effect"
    EDGES & up[n] & e[n][p].edge != E_NONE & !e[n][p].effect
  ==>
  begin
    take_effect(n, p);
    e[n][p].effect := true;
  end;

  rule "residency ends: a parked message is served"
    up[n] & e[n][p].parks > 0 & column(e[n][p].st, e[n][p].parked[0].kind) = SERVE
  ==>
  begin
    serve_parked(n, p);
    finish(n, p, false, false);
  end;

  rule "replacement"
    EVICT & up[n] & e[n][p].parks = 0 & (e[n][p].st = S | e[n][p].st = M)
      & !(e[n][p].owner & home[p] = n)
  ==>
  begin
    edge_action(n, p, E_UNMAP);
    if e[n][p].st = M then enter(n, p, ME_U);
    elsif e[n][p].owner then enter(n, p, OE_U);
    else enter(n, p, SE_U); end;
  end;
end;

ruleset n: Node; p: Page; guess: boolean do
  rule "edge action is complete"
    up[n] & e[n][p].edge != E_NONE & (e[n][p].effect | !EDGES)
      & (!guess | (GUESS & e[n][p].want = W_READ))
  ==>
  var a: Edge;
  begin
    take_effect(n, p);
    a := e[n][p].edge;
    e[n][p].edge := E_NONE;
    e[n][p].effect := false;
    completed(n, p, a);
    finish(n, p, guess, false);
  end;
end;

ruleset src: Node; dst: Node; hold: boolean; guess: boolean do
  rule "an urgent message arrives"
    up[dst] & src != dst & ch[src][dst].nu > 0
      & (!hold | (is_forward(ch[src][dst].u[0].kind)
                  & can_hold(e[dst][ch[src][dst].u[0].page].st, ch[src][dst].u[0].kind)))
      & (!guess | (GUESS & ch[src][dst].u[0].kind = PUT_ACK
                   & e[dst][ch[src][dst].u[0].page].want = W_READ))
  ==>
  var m: Urgent;
  begin
    m := ch[src][dst].u[0];
    for i := 0 to URGENTS - 1 do
      if i + 1 < ch[src][dst].nu then ch[src][dst].u[i] := ch[src][dst].u[i + 1]; end;
    end;
    ch[src][dst].nu := ch[src][dst].nu - 1;
    undefine ch[src][dst].u[ch[src][dst].nu];
    if m.epoch = epoch[dst] | OLD_EPOCH then
      if m.kind = INV_ACK then
        on_inv_ack(dst, m.page, src, m.age);
      else
        from_home(dst, m.page, m.kind, m.requester, m.age, m.acks, m.exclusive, m.zero, hold);
      end;
      finish(dst, m.page, guess, false);
    end;
  end;
end;

ruleset src: Node; dst: Node; hold: boolean do
  rule "a request arrives"
    up[dst] & src != dst & ch[src][dst].nr > 0
  ==>
  var m: Request;
  begin
    m := ch[src][dst].r[0];
    for i := 0 to PAGES - 1 do
      if i + 1 < ch[src][dst].nr then ch[src][dst].r[i] := ch[src][dst].r[i + 1]; end;
    end;
    ch[src][dst].nr := ch[src][dst].nr - 1;
    undefine ch[src][dst].r[ch[src][dst].nr];
    if m.epoch = epoch[dst] | OLD_EPOCH then
      to_home(m.page, src, m.kind, m.age);
      finish(dst, m.page, false, hold);
    end;
  end;
end;

ruleset src: Node; dst: Node do
  rule "bytes arrive"
    up[dst] & src != dst & ch[src][dst].nb > 0
  ==>
  var m: Bytes;
  begin
    m := ch[src][dst].b[0];
    for i := 0 to BYTESES - 1 do
      if i + 1 < ch[src][dst].nb then ch[src][dst].b[i] := ch[src][dst].b[i + 1]; end;
    end;
    ch[src][dst].nb := ch[src][dst].nb - 1;
    undefine ch[src][dst].b[ch[src][dst].nb];
    if m.epoch = epoch[dst] | OLD_EPOCH then
      if m.kind = DATA then
        on_data(dst, m.page, m.age, m.acks, m.exclusive, m.fresh);
      else
        home_put(m.page, src, m.kind, m.age, m.fresh);
      end;
      finish(dst, m.page, false, false);
    end;
  end;
end;

-- ---- crash -----------------------------------------------------------------------------------

ruleset n: Node do
  rule "crash"
    EPOCHS > 1 & !crashed & up[n]
  ==>
  begin
    crashed := true;
    up[n] := false;
    for p: Page do e[n][p].map := UNMAPPED; end;
  end;

  rule "a peer is down or of another epoch: the VM stops here"
    EPOCHS > 1 & crashed & up[n] & epoch[n] = 0
      & exists i: Node do i != n & (!up[i] | epoch[i] != epoch[n]) end
  ==>
  begin
    up[n] := false;
    for p: Page do e[n][p].map := UNMAPPED; end;
  end;

  rule "a node comes back"
    EPOCHS > 1 & !up[n] & epoch[n] = 0
  ==>
  begin
    epoch[n] := EPOCHS - 1;
    boot(n);
    for i: Node do empty_channel(n, i); end;
    for p: Page do
      if home[p] = n then empty_directory(p); end;
    end;
  end;
end;

ruleset src: Node; dst: Node do
  rule "what a node that went had sent is lost"
    EPOCHS > 1 & src != dst & ch[src][dst].nu + ch[src][dst].nr + ch[src][dst].nb > 0
      & (!up[src] | !up[dst])
  ==>
  begin
    empty_channel(src, dst);
  end;
end;

-- ---- what must hold --------------------------------------------------------------------------

invariant "single writer"
  forall n: Node do forall p: Page do
    e[n][p].map = WRITABLE ->
      forall i: Node do i = n | epoch[i] != epoch[n] | e[i][p].map = UNMAPPED end
  end end;

invariant "data value: what is mapped is what was written last"
  forall n: Node do forall p: Page do
    e[n][p].map = UNMAPPED | e[n][p].fresh
  end end;

invariant "nobody waits at a stable page"
  forall n: Node do forall p: Page do
    !up[n] | e[n][p].want = W_NO | !stable(e[n][p].st)
  end end;

invariant "the last write is never lost"
  !one_life() | forall p: Page do
    (exists n: Node do e[n][p].fresh | zero_fresh[epoch[n]][p] end)
    | exists a: Node do exists b: Node do exists i: 0..BYTESES-1 do
        i < ch[a][b].nb & ch[a][b].b[i].page = p & ch[a][b].b[i].fresh & ch[a][b].b[i].epoch = epoch[a]
      end end end
  end;

invariant "no lost wake-up: who waits, waits for something that is on its way"
  !one_life() | forall p: Page do
    (forall n: Node do stable(e[n][p].st) end)
    | (exists n: Node do
         e[n][p].edge != E_NONE
         | (e[n][p].parks > 0 & column(e[n][p].st, e[n][p].parked[0].kind) = SERVE)
       end)
    | !nothing_on_its_way(p)
  end;

invariant "at rest the directory names exactly who has the page"
  !one_life() | forall p: Page do
    (exists n: Node do !stable(e[n][p].st) | e[n][p].parks > 0 end)
    | !nothing_on_its_way(p)
    | (forall n: Node do
         (d[p].st = MODIFIED ? (e[n][p].st = M) = (n = d[p].owner)
                             : (e[n][p].st = S) = d[p].sharer[n])
         & (d[p].st = ZERO | (n = d[p].owner) = e[n][p].owner)
         & (e[n][p].st = I | e[n][p].age = 0)
       end)
  end;

-- From wherever the system is, a way leads to where nobody waits (rumur asks for a way, not for all).
liveness "a way to where all are served"
  !SERVED | forall n: Node do forall p: Page do e[n][p].want = W_NO & stable(e[n][p].st) end end;
