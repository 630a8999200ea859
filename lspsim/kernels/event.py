"""The event engine: a program's timing as a max-plus recurrence.

Two kernels, one meaning (docs/model.md, "Programs"):

- `run_alone`: every channel has one requester (one core, separate channels, or
  nothing to request), so each transfer's time follows from the one before;
- `run_shared`: requests of several cores or classes meet at a server and are
  granted in the order of (request time, class, core).

A request becomes known only through grants at or before its own request time,
and a grant takes at least one cycle, so granting the least known request first
is exact.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from lspsim.kernels.pace import fold_gap, fold_pace

# columns of the result [segments, cores, RESULT_SIZE]
(
    R_END,
    R_ARRAY,
    R_COMPUTE,
    R_STALL_WEIGHTS,
    R_STALL_ACTIVATIONS,
    R_STALL_WRITEBACK,
    R_INDEX,
    R_VECTOR,
    RESULT_SIZE,
) = range(9)

FAR = np.int64(2**60)


@njit(cache=True, inline="always")
def receive(need, act_next, act_end, a_segment, a_cycles, a_after, seg_end, consumed):
    """Play the activation channel up to transfer `need`; return (next transfer, channel end)."""
    while act_next <= need:
        if a_segment[act_next] > 0:
            act_end = max(act_end, seg_end[a_segment[act_next] - 1])
        if a_after[act_next] >= 0:
            act_end = max(act_end, consumed[a_after[act_next]])
        act_end += a_cycles[act_next]
        act_next += 1
    return act_next, act_end


@njit(cache=True, nogil=True)
def run_alone(
    rows,
    cols,
    output_stationary,
    overlap,
    ideal,
    prefetch,
    slots,
    latency,
    read_behind,
    tile_cycles,
    prefetchable,
    gather,
    v_segment,
    v_folds,
    v_length,
    v_acquire,
    v_held,
    v_release,
    v_header,
    v_vector,
    v_is_vector,
    v_writeback,
    v_drain,
    v_fold_start,
    needs,
    a_segment,
    a_cycles,
    a_after,
    seg_end,
    out,
):
    """Fill `seg_end[g]` and `out[g, 0, :]` for one core whose channels nobody shares."""
    visits = v_segment.size
    segments = tile_cycles.size
    slot_free = np.zeros(slots, np.int64)
    arrival = np.zeros(slots, np.int64)
    consumed = np.zeros(visits, np.int64)
    tile_end = np.int64(0)
    queued = np.int64(0)  # tile transfers so far
    base = np.int64(0)
    position = np.int64(0)  # queued mod slots
    base_position = np.int64(0)
    act_end = np.int64(0)
    act_next = 0
    t0 = np.int64(0)
    v = 0
    for g in range(segments):
        gate = np.int64(0) if prefetch and prefetchable[g] else t0
        tc = tile_cycles[g]
        first = True
        s = t0
        length = np.int64(0)
        compute = np.int64(0)
        waits_w = np.int64(0)
        waits_a = np.int64(0)
        waits_o = np.int64(0)
        index = np.int64(0)
        vector = np.int64(0)
        vector_end = t0
        write_end = t0
        array_end = t0
        bank_even = t0
        bank_odd = t0
        banked = 0
        while v < visits and v_segment[np.uint64(v)] == g:
            at = np.uint64(v)  # unsigned: no check for negative indices
            n = v_folds[at]
            ready = t0
            if v_is_vector[at]:
                arrived = t0
                if v_fold_start[at] >= 0:
                    need = needs[v_fold_start[at]]
                    act_next, act_end = receive(
                        need, act_next, act_end, a_segment, a_cycles, a_after, seg_end, consumed
                    )
                    arrived = act_end + latency
                bank = bank_odd if banked & 1 else bank_even
                if ideal:
                    bank = t0
                start = max(vector_end, arrived, bank)
                if start > vector_end:
                    if arrived >= start:
                        waits_a += start - vector_end
                    else:
                        waits_o += start - vector_end
                vector += v_vector[at]
                vector_end = start + v_vector[at]
                consumed[v] = vector_end
                ready = vector_end
            elif n > 0:
                new_length = v_length[at]
                acquire = v_acquire[at] > 0
                held = v_held[at]
                release = v_release[at] == 1
                header = v_header[at]
                if acquire:
                    base = queued
                    base_position = position
                bank = bank_odd if banked & 1 else bank_even
                if ideal:
                    bank = t0
                compute += n * new_length
                if output_stationary:
                    arrived = t0
                    if acquire:
                        for i in range(held):
                            tile_end = max(tile_end, slot_free[position], gate) + tc
                            if i == 0:
                                tile_end += header
                            arrival[position] = tile_end + latency
                            queued += 1
                            position += 1
                            if position == slots:
                                position = 0
                    if held > 0:
                        arrived = arrival[(base + held - 1) % slots]
                    if first:
                        s_base = t0
                    elif overlap == 0:
                        s_base = s + length + max(0, rows - new_length)
                    else:
                        s_base = s + length + rows + cols - 2
                    streamed = t0
                    if v_fold_start[at] >= 0:
                        need = needs[v_fold_start[at]]
                        act_next, act_end = receive(
                            need, act_next, act_end, a_segment, a_cycles, a_after, seg_end, consumed
                        )
                        streamed = act_end + latency
                    s = max(s_base, arrived, streamed, bank)
                    wait = s - s_base
                    if wait > 0:
                        if arrived == s:
                            if acquire:
                                part = min(wait, header)
                                index += part
                                wait -= part
                            waits_w += wait
                        elif streamed == s:
                            waits_a += wait
                        else:
                            waits_o += wait
                    if release and held > 0:
                        for i in range(held):
                            slot_free[(base + i) % slots] = s + new_length
                    first = False
                else:
                    place = base_position
                    plain = acquire and release and v_fold_start[at] < 0
                    for i in range(n):
                        if plain and i > 0:
                            break
                        arrived = t0
                        if acquire:
                            tile_end = max(tile_end, slot_free[position], gate) + tc
                            if i == 0:
                                tile_end += header
                            arrival[position] = tile_end + latency
                            queued += 1
                            position += 1
                            if position == slots:
                                position = 0
                        if held > 0:
                            arrived = arrival[place]
                        if first:
                            w_base = t0
                            s_base = t0 + rows
                            after = t0
                            first = False
                        else:
                            w_base = s + fold_gap(overlap, length, rows, cols)
                            after = s + length
                            s_base = max(w_base + rows, after)
                        w = max(w_base, arrived)
                        streamed = t0
                        if v_fold_start[at] >= 0:
                            need = needs[v_fold_start[at] + i]
                            act_next, act_end = receive(
                                need,
                                act_next,
                                act_end,
                                a_segment,
                                a_cycles,
                                a_after,
                                seg_end,
                                consumed,
                            )
                            streamed = act_end + latency
                        s = max(w + rows, after, streamed)
                        if i == 0:
                            s = max(s, bank)
                        wait = s - s_base
                        if wait > 0:
                            if arrived + rows == s:
                                if i == 0 and acquire:
                                    part = min(wait, header)
                                    index += part
                                    wait -= part
                                waits_w += wait
                            elif streamed == s:
                                waits_a += wait
                            else:
                                waits_o += wait
                        length = new_length
                        if held > 0:
                            if release:
                                slot_free[place] = w + rows
                            place += 1
                            if place == slots:
                                place = 0
                    if plain and n > 1:
                        # later folds of a visit can only wait for their tiles
                        gap = fold_gap(overlap, new_length, rows, cols)
                        pace = fold_pace(overlap, new_length, rows, cols)
                        before = s
                        tile_end = max(tile_end, gate)
                        rest = n - 1
                        after_last = position + rest
                        quiet = after_last < slots
                        if quiet:
                            # slots free in order, so the last one needed is the latest
                            latest = max(tile_end, slot_free[after_last - 1]) + latency
                            quiet = (
                                latest + tc <= s + gap
                                and latest + rest * tc <= s + gap + (rest - 1) * pace
                            )
                        if quiet:
                            # every tile is there in time: transfers and shifts in closed form,
                            # in two loops that vectorise
                            push = tile_end
                            here = np.uint64(position)
                            for i in range(rest):
                                push = max(push, slot_free[here + np.uint64(i)] - i * tc)
                            tile_end = push + rest * tc
                            shift = s + gap + rows
                            for i in range(rest):
                                slot_free[here + np.uint64(i)] = shift + i * pace
                            s += rest * pace
                            position = after_last
                        else:
                            for _ in range(rest):
                                tile_end = max(tile_end, slot_free[position]) + tc
                                w = max(s + gap, tile_end + latency)
                                s = max(w + rows, s + new_length)
                                slot_free[position] = w + rows
                                position += 1
                                if position == slots:
                                    position = 0
                        queued += n - 1
                        waits_w += s - before - (n - 1) * pace
                length = new_length
                consumed[v] = s + length + read_behind
                array_end = s + length + rows + cols
                ready = array_end
            if not v_is_vector[at] and v_vector[at] > 0:
                vector_end = max(ready, vector_end) + v_vector[at]
                ready = vector_end
            request = v_writeback[at]
            if v_acquire[at] == 0:
                request += v_header[at]
            write_end = max(ready, write_end) + request + v_drain[at]
            if n > 0 or v_is_vector[at]:
                if banked & 1:
                    bank_odd = write_end
                else:
                    bank_even = write_end
                banked += 1
            v += 1
        row = out[g, 0]
        row[R_COMPUTE] = compute
        row[R_ARRAY] = array_end - t0 - waits_w - waits_a - waits_o - index if compute > 0 else 0
        tail = max(array_end, vector_end)
        if vector == 0:
            vector = tail - array_end
        end = max(tail, write_end)
        row[R_STALL_WEIGHTS] = waits_w
        row[R_STALL_ACTIVATIONS] = waits_a
        row[R_STALL_WRITEBACK] = waits_o + end - tail
        row[R_INDEX] = index
        row[R_VECTOR] = vector
        row[R_END] = end
        t0 = end + gather[g]
        seg_end[g] = t0


# per-core state of `run_shared`
(
    C_VISIT,  # visit whose folds come next
    C_FOLD,
    C_S,
    C_LENGTH,
    C_STARTED,  # a fold of this segment has run
    C_SHIFTED,  # the next fold's weights are shifted in (its slot may be free before it starts)
    C_SHIFT,  # when that shift began
    C_TILE_READY,  # when the shifted tile alone would let the fold start
    C_BASE,  # queue number of the held tiles' first
    C_ACQUIRED,  # tiles of the visits that are over
    C_TILE_VISIT,  # visit whose tile transfers come next
    C_TILE_INDEX,
    C_QUEUED,  # tile transfers granted
    C_RELEASED,  # slots freed, in order
    C_TILE_END,
    C_ACT_NEXT,
    C_ACT_END,
    C_VECTOR_END,
    C_WRITE_VISIT,  # visit whose write-back comes next
    C_WRITE_END,
    C_BANKED,  # bank users so far in this segment
    C_BANKS_FREE,  # bank users whose write-back has ended
    C_BANK_EVEN,
    C_BANK_ODD,
    C_ARRAY_END,
    C_DONE,  # nothing left in this segment
    STATE_SIZE,
) = range(27)


@njit(cache=True, nogil=True)
def run_shared(
    rows,
    cols,
    output_stationary,
    overlap,
    ideal,
    shared,
    prefetch,
    slots,
    latency,
    read_behind,
    tile_cycles,
    prefetchable,
    gather,
    visit_start,
    v_segment,
    v_folds,
    v_length,
    v_acquire,
    v_held,
    v_release,
    v_header,
    v_vector,
    v_is_vector,
    v_writeback,
    v_drain,
    v_fold_start,
    needs,
    act_start,
    a_segment,
    a_cycles,
    a_after,
    seg_end,
    out,
):
    """Fill `seg_end[g]` and `out[g, p, :]`; return -1, or the segment that can never end."""
    cores = visit_start.size - 1
    segments = tile_cycles.size
    slot_free = np.zeros((cores, slots), np.int64)
    arrival = np.zeros((cores, slots), np.int64)
    consumed = np.zeros(v_segment.size, np.int64)
    ready = np.zeros(v_segment.size, np.int64)
    act_arrival = np.zeros(a_cycles.size, np.int64)
    state = np.zeros((cores, STATE_SIZE), np.int64)
    request = np.full((cores, 3), FAR, np.int64)
    first_request = np.full(cores, FAR << 2, np.int64)  # time << 2 | class of the least
    held_time = np.zeros((cores, 3), np.int64)  # channel cycles of the known requests
    channel = np.zeros(3, np.int64)
    for p in range(cores):
        state[p, C_VISIT] = visit_start[p]
        state[p, C_TILE_VISIT] = visit_start[p]
        state[p, C_WRITE_VISIT] = visit_start[p]
        state[p, C_ACT_NEXT] = act_start[p]
    g = 0
    t0 = np.int64(0)
    turn = -1  # core to look at again; -1 = all of them
    while True:
        lowest = 0 if turn < 0 else turn
        highest = cores if turn < 0 else turn + 1
        for core in range(lowest, highest):
            p = np.uint64(core)  # unsigned indices: no check for negative ones
            last = visit_start[core + 1]
            if turn < 0:  # a new segment
                state[p, C_S] = t0
                state[p, C_LENGTH] = 0
                state[p, C_STARTED] = 0
                state[p, C_VECTOR_END] = t0
                state[p, C_WRITE_END] = t0
                state[p, C_BANKED] = 0
                state[p, C_BANKS_FREE] = 0
                state[p, C_BANK_EVEN] = t0
                state[p, C_BANK_ODD] = t0
                state[p, C_ARRAY_END] = t0
                state[p, C_DONE] = 0
            while True:
                # --- folds, as far as their operands are known
                v = state[p, C_VISIT]
                while v < last and v_segment[np.uint64(v)] == g:
                    at_v = np.uint64(v)
                    n = v_folds[at_v]
                    first_need = v_fold_start[at_v]
                    bank_known = ideal or state[p, C_BANKED] - state[p, C_BANKS_FREE] < 2
                    bank = state[p, C_BANK_ODD] if state[p, C_BANKED] & 1 else state[p, C_BANK_EVEN]
                    if ideal:
                        bank = t0
                    if v_is_vector[at_v]:
                        if not bank_known:
                            break
                        arrived = t0
                        if first_need >= 0:
                            need = act_start[p] + needs[first_need]
                            if need >= state[p, C_ACT_NEXT]:
                                break
                            arrived = act_arrival[np.uint64(need)]
                        before = state[p, C_VECTOR_END]
                        start = max(before, arrived, bank)
                        if start > before:
                            if arrived >= start:
                                out[g, p, R_STALL_ACTIVATIONS] += start - before
                            else:
                                out[g, p, R_STALL_WRITEBACK] += start - before
                        out[g, p, R_VECTOR] += v_vector[at_v]
                        state[p, C_VECTOR_END] = start + v_vector[at_v]
                        consumed[at_v] = state[p, C_VECTOR_END]
                        ready[at_v] = state[p, C_VECTOR_END]
                        state[p, C_BANKED] += 1
                    else:
                        done = t0
                        if n > 0:
                            length = v_length[at_v]
                            held = v_held[at_v]
                            acquire = v_acquire[at_v] > 0
                            release = v_release[at_v] == 1
                            i = state[p, C_FOLD]
                            s = state[p, C_S]
                            old = state[p, C_LENGTH]
                            base = state[p, C_ACQUIRED] if acquire else state[p, C_BASE]
                            gap = fold_gap(overlap, old, rows, cols)
                            while i < n:
                                started = state[p, C_STARTED]
                                if state[p, C_SHIFTED] == 0:
                                    arrived = t0
                                    place = 0
                                    if held > 0:
                                        tile = base + (held - 1 if output_stationary else i)
                                        if tile >= state[p, C_QUEUED]:
                                            break
                                        place = tile % slots
                                        arrived = arrival[p, np.uint64(place)]
                                    state[p, C_SHIFTED] = 1
                                    state[p, C_TILE_READY] = arrived
                                    if not output_stationary:
                                        w = max(s + gap if started else t0, arrived)
                                        state[p, C_SHIFT] = w
                                        state[p, C_TILE_READY] = arrived + rows
                                        if held > 0 and release:
                                            slot_free[p, np.uint64(place)] = w + rows
                                            state[p, C_RELEASED] += 1
                                if i == 0 and not bank_known:
                                    break
                                streamed = t0
                                if first_need >= 0:
                                    need = act_start[p] + needs[np.uint64(first_need + i)]
                                    if need >= state[p, C_ACT_NEXT]:
                                        break
                                    streamed = act_arrival[np.uint64(need)]
                                tile_ready = state[p, C_TILE_READY]
                                if output_stationary:
                                    if started == 0:
                                        s_base = t0
                                    elif overlap == 0:
                                        s_base = s + old + max(0, rows - length)
                                    else:
                                        s_base = s + old + rows + cols - 2
                                    s = max(s_base, tile_ready, streamed)
                                else:
                                    s_base = t0 + rows
                                    after = t0
                                    if started:
                                        after = s + old
                                        s_base = max(s + gap + rows, after)
                                    s = max(state[p, C_SHIFT] + rows, after, streamed)
                                if i == 0:
                                    s = max(s, bank)
                                wait = s - s_base
                                if wait > 0:
                                    if tile_ready == s:
                                        if i == 0 and acquire:
                                            part = min(wait, v_header[at_v])
                                            out[g, p, R_INDEX] += part
                                            wait -= part
                                        out[g, p, R_STALL_WEIGHTS] += wait
                                    elif streamed == s:
                                        out[g, p, R_STALL_ACTIVATIONS] += wait
                                    else:
                                        out[g, p, R_STALL_WRITEBACK] += wait
                                if old != length:
                                    old = length
                                    gap = fold_gap(overlap, old, rows, cols)
                                state[p, C_STARTED] = 1
                                out[g, p, R_COMPUTE] += length
                                if output_stationary and held > 0 and release:
                                    for r in range(held):
                                        slot_free[p, (base + r) % slots] = s + length
                                    state[p, C_RELEASED] += held
                                state[p, C_SHIFTED] = 0
                                i += 1
                            state[p, C_S] = s
                            state[p, C_LENGTH] = old
                            state[p, C_FOLD] = i
                            if i < n:
                                break
                            state[p, C_FOLD] = 0
                            if acquire:
                                state[p, C_BASE] = base
                                state[p, C_ACQUIRED] = base + v_acquire[at_v]
                            consumed[at_v] = s + length + read_behind
                            done = s + length + rows + cols
                            state[p, C_ARRAY_END] = done
                            state[p, C_BANKED] += 1
                        if v_vector[at_v] > 0:
                            done = max(done, state[p, C_VECTOR_END]) + v_vector[at_v]
                            state[p, C_VECTOR_END] = done
                        ready[at_v] = done
                    v += 1
                state[p, C_VISIT] = v
                # --- write-backs that need no channel
                changed = False
                u = state[p, C_WRITE_VISIT]
                request[p, 2] = FAR
                while u < v:
                    cycles = v_writeback[np.uint64(u)]
                    if v_acquire[np.uint64(u)] == 0:
                        cycles += v_header[np.uint64(u)]
                    at = max(ready[np.uint64(u)], state[p, C_WRITE_END])
                    if cycles > 0:
                        request[p, 2] = at
                        held_time[p, 2] = cycles
                        break
                    state[p, C_WRITE_END] = at + v_drain[np.uint64(u)]
                    if v_folds[np.uint64(u)] > 0 or v_is_vector[np.uint64(u)]:
                        if state[p, C_BANKS_FREE] & 1:
                            state[p, C_BANK_ODD] = state[p, C_WRITE_END]
                        else:
                            state[p, C_BANK_EVEN] = state[p, C_WRITE_END]
                        state[p, C_BANKS_FREE] += 1
                        changed = True
                    u += 1
                state[p, C_WRITE_VISIT] = u
                if not changed:
                    break
            if (
                state[p, C_DONE] == 0
                and state[p, C_WRITE_VISIT] == state[p, C_VISIT]
                and (state[p, C_VISIT] == last or v_segment[state[p, C_VISIT]] != g)
            ):
                state[p, C_DONE] = 1
            # --- the next tile request
            request[p, 0] = FAR
            u = state[p, C_TILE_VISIT]
            while u < last and v_acquire[np.uint64(u)] == 0:
                u += 1
            state[p, C_TILE_VISIT] = u
            if u < last:
                k = state[p, C_QUEUED]
                h = v_segment[np.uint64(u)]
                free_gate = prefetch and prefetchable[np.uint64(h)]
                if (h == g or (free_gate and h > g)) and k - slots < state[p, C_RELEASED]:
                    at = state[p, C_TILE_END]
                    if k >= slots:
                        at = max(at, slot_free[p, k % slots])
                    if not free_gate:
                        at = max(at, t0)
                    request[p, 0] = at
                    held_time[p, 0] = tile_cycles[np.uint64(h)]
                    if state[p, C_TILE_INDEX] == 0:
                        held_time[p, 0] += v_header[np.uint64(u)]
            # --- the next activation request
            request[p, 1] = FAR
            a = state[p, C_ACT_NEXT]
            if a < act_start[core + 1] and a_segment[np.uint64(a)] <= g:
                at = state[p, C_ACT_END]
                if a_segment[np.uint64(a)] > 0:
                    at = max(at, seg_end[a_segment[np.uint64(a)] - 1])
                known = True
                if a_after[np.uint64(a)] >= 0:
                    waits_for = visit_start[p] + a_after[np.uint64(a)]
                    if waits_for < state[p, C_VISIT]:
                        at = max(at, consumed[waits_for])
                    else:
                        known = False
                if known:
                    request[p, 1] = at
                    held_time[p, 1] = a_cycles[np.uint64(a)]
            first_request[p] = min(
                request[p, 0] << 2, (request[p, 1] << 2) | 1, (request[p, 2] << 2) | 2
            )
        # --- the segment's end
        over = True
        for core in range(cores):
            if state[core, C_DONE] == 0:
                over = False
                break
        if over:
            latest = t0
            for core in range(cores):
                p = np.uint64(core)
                waits = (
                    out[g, p, R_STALL_WEIGHTS]
                    + out[g, p, R_STALL_ACTIVATIONS]
                    + out[g, p, R_STALL_WRITEBACK]
                    + out[g, p, R_INDEX]
                )
                if out[g, p, R_COMPUTE] > 0:
                    out[g, p, R_ARRAY] = state[p, C_ARRAY_END] - t0 - waits
                tail = max(state[p, C_ARRAY_END], state[p, C_VECTOR_END])
                if out[g, p, R_VECTOR] == 0:
                    out[g, p, R_VECTOR] = tail - state[p, C_ARRAY_END]
                end = max(tail, state[p, C_WRITE_END])
                out[g, p, R_STALL_WRITEBACK] += end - tail
                out[g, p, R_END] = end
                latest = max(latest, end)
            t0 = latest + gather[g]
            seg_end[g] = t0
            g += 1
            if g == segments:
                return -1
            turn = -1
            continue
        # --- grant the first request: least (time, class), then the lowest core
        best = FAR << 2
        best_core = -1
        for core in range(cores):
            if first_request[core] < best:
                best = first_request[core]
                best_core = core
        if best_core < 0:
            return g
        best_class = best & 3
        best >>= 2
        p = np.uint64(best_core)
        server = 0 if shared else best_class
        end = max(channel[server], best) + held_time[p, best_class]
        channel[server] = end
        if best_class == 0:
            k = state[p, C_QUEUED]
            arrival[p, k % slots] = end + latency
            state[p, C_TILE_END] = end
            state[p, C_QUEUED] = k + 1
            state[p, C_TILE_INDEX] += 1
            if state[p, C_TILE_INDEX] == v_acquire[state[p, C_TILE_VISIT]]:
                state[p, C_TILE_INDEX] = 0
                state[p, C_TILE_VISIT] += 1
        elif best_class == 1:
            a = state[p, C_ACT_NEXT]
            act_arrival[np.uint64(a)] = end + latency
            state[p, C_ACT_END] = end
            state[p, C_ACT_NEXT] = a + 1
        else:
            u = state[p, C_WRITE_VISIT]
            state[p, C_WRITE_END] = end + v_drain[np.uint64(u)]
            if v_folds[np.uint64(u)] > 0 or v_is_vector[np.uint64(u)]:
                if state[p, C_BANKS_FREE] & 1:
                    state[p, C_BANK_ODD] = state[p, C_WRITE_END]
                else:
                    state[p, C_BANK_EVEN] = state[p, C_WRITE_END]
                state[p, C_BANKS_FREE] += 1
            state[p, C_WRITE_VISIT] = u + 1
        turn = best_core
