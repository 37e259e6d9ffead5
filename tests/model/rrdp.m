-- SPDX-License-Identifier: BSD-3-Clause
--
-- Set-up, epochs and teardown of RRDP (dataplane/transport/setup.c, receive.c) between two nodes,
-- for rumur.
--
-- The network does its worst: what was ever sent may arrive at any time, any number of times, in any
-- order, or never. So it is a set that only grows. A frame names its connection by the pair of both
-- nodes' epochs (on the wire a hash of it, the tag). In each connection a node sends up to FRAMES
-- frames; a receiver takes the next in order and drops the others, as the window does.
--
-- Not here: acknowledgements and retransmission (the set does that), credits, addresses, events; SYNs
-- between nodes that are connected (path MTU) and HOST-PING, which change no connection; group frames, of
-- which each member's part is an ordinary frame.

const
  BOOTS: 2;      -- how often each node may start
  GIVE_UPS: 1;   -- connections that a node may give up in each of its lives (time-out, RST, reset)
  FRAMES: 1;
  SAME_EPOCH: false; -- negative control: a connection that was given up keeps its epoch
  ANY_TAG: false;    -- negative control: frames of another connection are taken

type
  Node: scalarset(2);
  Epoch: 0..BOOTS * (GIVE_UPS + 1); -- 0: not known
  Peer: enum { OPENING, HALF_OPEN, UP };
  Seq: 0..FRAMES;

var
  st: array [Node] of Peer;
  own: array [Node] of Epoch;
  peer: array [Node] of Epoch;
  boots: array [Node] of 0..BOOTS;
  snd: array [Node] of Seq; -- sent in the present connection
  rcv: array [Node] of Seq; -- taken

  syn: array [Node] of array [Epoch] of array [Epoch] of boolean;  -- by whom, its epoch, its echo
  data: array [Node] of array [Epoch] of array [Epoch] of Seq;     -- how many frames were sent
  nul: array [Node] of array [Epoch] of array [Epoch] of boolean;  -- a frame without data
  rst: array [Node] of array [Epoch] of array [Epoch] of boolean;

  -- history: what each node took in each connection, from the first life to the last
  was_up: array [Node] of array [Epoch] of array [Epoch] of boolean;
  taken: array [Node] of array [Epoch] of array [Epoch] of Seq;

  resets: array [Node] of boolean; -- still up; its RST is leaving

-- Forgets what can never matter again, so that states that differ in it only are one: epochs of a node
-- only grow; what it knows of its peer does so within a life.
procedure forget();
var last: boolean;
begin
  for n: Node do for m: Node do
    if n != m & !ANY_TAG then
      last := boots[n] = BOOTS;
      for a: Epoch do for b: Epoch do
        if last & a < peer[n] then
          syn[m][a][b] := false;
        elsif b != 0 & b < own[n] & syn[m][a][b] then
          syn[m][a][0] := true; -- it says what one without an echo says
          syn[m][a][b] := false;
        end;
        if b < own[n] | (last & a < peer[n]) then
          data[m][a][b] := 0;
          nul[m][a][b] := false;
          rst[m][a][b] := false;
          taken[n][a][b] := 0;
          was_up[n][b][a] := false;
        end;
      end; end;
    end;
  end; end;
end;

procedure boot(n: Node);
begin
  st[n] := OPENING;
  own[n] := boots[n] * (GIVE_UPS + 1) + 1;
  peer[n] := 0;
  snd[n] := 0;
  rcv[n] := 0;
  boots[n] := boots[n] + 1;
  resets[n] := false;
end;

-- A life may end as many connections as it has epochs left.
function may_give_up(n: Node): boolean;
begin
  return own[n] < boots[n] * (GIVE_UPS + 1) | SAME_EPOCH;
end;

procedure down(n: Node; restarted: boolean);
begin
  st[n] := HALF_OPEN;
  if !restarted & !SAME_EPOCH then own[n] := own[n] + 1; end;
  snd[n] := 0;
  rcv[n] := 0;
  resets[n] := false;
end;

procedure go_up(n: Node);
begin
  assert st[n] = HALF_OPEN "set-up from half open";
  if was_up[n][own[n]][peer[n]] then error "a connection comes up for the second time"; end;
  was_up[n][own[n]][peer[n]] := true;
  st[n] := UP;
  nul[n][own[n]][peer[n]] := true;
end;

startstate "nobody has heard of anybody"
  for n: Node do
    boots[n] := 0;
    boot(n);
    for a: Epoch do for b: Epoch do
      syn[n][a][b] := false;
      data[n][a][b] := 0;
      nul[n][a][b] := false;
      rst[n][a][b] := false;
      was_up[n][a][b] := false;
      taken[n][a][b] := 0;
    end; end;
  end;
end;

ruleset n: Node do
  rule "SYN"
    st[n] != UP & !syn[n][own[n]][peer[n]]
  ==>
  begin
    syn[n][own[n]][peer[n]] := true;
    forget();
  end;

  rule "data"
    st[n] = UP & !resets[n] & snd[n] < FRAMES
  ==>
  begin
    snd[n] := snd[n] + 1;
    if data[n][own[n]][peer[n]] < snd[n] then data[n][own[n]][peer[n]] := snd[n]; end;
    forget();
  end;

  rule "the peer is silent for too long"
    st[n] = UP & may_give_up(n)
  ==>
  begin
    down(n, false);
    forget();
  end;

  rule "a broken segment: RST, and down at once"
    st[n] = UP & may_give_up(n)
  ==>
  begin
    rst[n][own[n]][peer[n]] := true;
    down(n, false);
    forget();
  end;

  rule "reset, or close: the first RST leaves"
    st[n] = UP & !resets[n] & may_give_up(n)
  ==>
  begin
    rst[n][own[n]][peer[n]] := true;
    resets[n] := true;
    forget();
  end;

  rule "the last RST has left"
    resets[n]
  ==>
  begin
    down(n, false);
    forget();
  end;

  rule "crash and start"
    boots[n] < BOOTS
  ==>
  begin
    boot(n);
    forget();
  end;
end;

ruleset n: Node; m: Node; ep: Epoch; echo: Epoch do
  rule "SYN arrives"
    n != m & syn[m][ep][echo] & ep >= peer[n]
  ==>
  begin
    if ep > peer[n] & st[n] = UP then down(n, true); end;
    if ep > peer[n] | st[n] = OPENING then
      resets[n] := false;
      peer[n] := ep;
      st[n] := HALF_OPEN;
      snd[n] := 0;
      rcv[n] := 0;
    end;
    if st[n] = HALF_OPEN & echo = own[n] then go_up(n); end;
    if st[n] = UP then nul[n][own[n]][peer[n]] := true; else syn[n][own[n]][peer[n]] := true; end;
    forget();
  end;
end;

ruleset n: Node; m: Node; a: Epoch; b: Epoch do
  rule "RST arrives"
    n != m & rst[m][a][b] & st[n] != OPENING & a = peer[n] & b = own[n] & may_give_up(n)
  ==>
  begin
    down(n, false);
    forget();
  end;

  rule "a frame of the connection arrives"
    n != m & nul[m][a][b] & st[n] = HALF_OPEN & a = peer[n] & b = own[n]
  ==>
  begin
    go_up(n);
    forget();
  end;

  rule "data arrives"
    n != m & st[n] != OPENING & rcv[n] < data[m][a][b]
      & ((a = peer[n] & b = own[n]) | (ANY_TAG & st[n] = UP))
  ==>
  begin
    if st[n] = HALF_OPEN then go_up(n); end;
    if taken[n][a][b] > rcv[n] then error "a frame is taken for the second time"; end;
    if taken[n][a][b] < rcv[n] then error "a frame is taken out of its order"; end;
    if a != peer[n] | b != own[n] then error "a frame of another connection is taken"; end;
    rcv[n] := rcv[n] + 1;
    taken[n][a][b] := rcv[n];
    forget();
  end;

  rule "a frame of a connection that we do not have: SYN"
    n != m & nul[m][a][b] & (st[n] = OPENING | (st[n] = HALF_OPEN & !(a = peer[n] & b = own[n])))
      & !syn[n][own[n]][peer[n]]
  ==>
  begin
    syn[n][own[n]][peer[n]] := true;
    forget();
  end;
end;

invariant "who is up with a peer's present epoch is known to it by the present one"
  forall n: Node do forall m: Node do
    n = m | st[n] != UP | peer[n] != own[m] | peer[m] = own[n]
  end end;

-- From wherever they are a way leads there (rumur asks for a way, not for all: a start counts as one).
liveness "both can come up with each other again"
  forall n: Node do forall m: Node do
    n = m | (st[n] = UP & peer[n] = own[m])
  end end;
