// Test bench of lsp_ws_core and (OUTPUT_STATIONARY) lsp_os_core: memories, and a DMA with one channel or three.
//
// Reads cases (text, integers) from the first file, writes one line of counts per
// case to stdout and the results, int32 [M, N] each, to the second file.
// A cycle t is the time between two clock edges; "at t" means visible in it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "Vcore.h"
#include "verilated.h"

typedef int64_t i64;
static const i64 NEVER = INT64_MAX;

// ---- fields of ports, which are integers or arrays of 32-bit words
template <class T> static uint64_t get(const T& port, int at, int width) {
    return (uint64_t(port) >> at) & ((uint64_t(1) << width) - 1);
}
template <std::size_t N> static uint64_t get(const VlWide<N>& port, int at, int width) {
    uint64_t word = port[at / 32];
    if (at % 32 + width > 32) word |= uint64_t(port[at / 32 + 1]) << 32;
    return (word >> (at % 32)) & ((uint64_t(1) << width) - 1);
}
template <class T> static void put(T& port, int at, int width, uint64_t value) {
    const uint64_t mask = ((uint64_t(1) << width) - 1) << at;
    port = T((uint64_t(port) & ~mask) | ((value << at) & mask));
}
template <std::size_t N> static void put(VlWide<N>& port, int at, int width, uint64_t value) {
    for (int done = 0; done < width;) {
        const int bit = (at + done) % 32;
        const int part = width - done < 32 - bit ? width - done : 32 - bit;
        const uint32_t mask = part == 32 ? ~0u : ((1u << part) - 1) << bit;
        EData& word = port[(at + done) / 32];
        word = (word & ~mask) | ((uint32_t(value >> done) << bit) & mask);
        done += part;
    }
}
static i64 extend(uint64_t value, int bits) {
    return i64(value << (64 - bits)) >> (64 - bits);
}

struct Fold {
    i64 first, last, stored, release, length, row, rows, cols, need, column, held;
    std::vector<i64> units;  // sub-blocks, per group of array rows
    std::vector<i64> ks;     // OS: the values of K in the order of use
};
struct Run { i64 first, length; };       // OS: of kept values of K
struct Tile { i64 fold, header, slice; };  // slice: of R values of K' (OS)
struct Piece { i64 after, bytes, chunk, key; };
struct Out { i64 empty, header, bytes, dram, rows, cols, column, row; };
struct Rate { i64 num, den; };

struct Case {
    i64 limit, ideal, shared, latency, slots, burst, tile_bytes, m, k, n, chunks;
    Rate rate[3];
    std::vector<Fold> folds;
    std::vector<Run> runs;
    std::vector<Tile> tiles;
    std::vector<Piece> pieces;
    std::vector<Out> outs;
    std::vector<i64> chunk_of_row, bias, x, w;

    i64 cycles(i64 bytes, int kind) const {
        if (bytes == 0) return 0;
        const __int128 moved = __int128((bytes + burst - 1) / burst) * burst * rate[kind].num;
        const i64 cycles = i64((moved + rate[kind].den - 1) / rate[kind].den);
        return cycles < 1 ? 1 : cycles;
    }
};

class Reader {
  public:
    explicit Reader(const char* path) : file(std::fopen(path, "rb")) {
        if (!file) { std::perror(path); std::exit(2); }
    }
    ~Reader() { std::fclose(file); }
    bool more() {
        int c;
        while ((c = std::getc(file)) != EOF && c <= ' ') {}
        if (c == EOF) return false;
        std::ungetc(c, file);
        return true;
    }
    i64 number() {
        if (!more()) { std::fputs("the case file ends early\n", stderr); std::exit(2); }
        int c = std::getc(file);
        const bool negative = c == '-';
        if (negative) c = std::getc(file);
        i64 value = 0;
        for (; c >= '0' && c <= '9'; c = std::getc(file)) value = value * 10 + (c - '0');
        return negative ? -value : value;
    }
    void numbers(std::vector<i64>& out, i64 count) {
        out.resize(count);
        for (i64& value : out) value = number();
    }

  private:
    std::FILE* file;
};

static Case read_case(Reader& in) {
    Case c;
    c.limit = in.number(); c.ideal = in.number(); c.shared = in.number();
    c.latency = in.number(); c.slots = in.number(); c.burst = in.number();
    c.tile_bytes = in.number();
    for (Rate& rate : c.rate) { rate.num = in.number(); rate.den = in.number(); }
    c.m = in.number(); c.k = in.number(); c.n = in.number(); c.chunks = in.number();
    in.numbers(c.chunk_of_row, c.m);
    c.folds.resize(in.number());
    for (Fold& f : c.folds) {
        f.first = in.number(); f.last = in.number(); f.stored = in.number();
        f.release = in.number(); f.length = in.number(); f.row = in.number();
        f.rows = in.number(); f.cols = in.number(); f.need = in.number();
        f.column = in.number(); f.held = in.number();
#ifdef OUTPUT_STATIONARY
        for (i64 count = in.number(); count > 0; count--) {
            const i64 first = in.number(), length = in.number();
            c.runs.push_back({first, length});
            for (i64 k = first; k < first + length; k++) f.ks.push_back(k);
        }
#else
        in.numbers(f.units, G);
#endif
    }
    c.tiles.resize(in.number());
    for (Tile& t : c.tiles) {
        t.fold = in.number(); t.header = in.number(); t.slice = in.number();
    }
    c.pieces.resize(in.number());
    for (Piece& p : c.pieces) {
        p.after = in.number(); p.bytes = in.number(); p.chunk = in.number();
        p.key = in.number();
    }
    c.outs.resize(in.number());
    for (Out& o : c.outs) {
        o.empty = in.number(); o.header = in.number(); o.bytes = in.number();
        o.dram = in.number(); o.rows = in.number(); o.cols = in.number();
        o.column = in.number(); o.row = in.number();
    }
    in.numbers(c.bias, c.n);
    in.numbers(c.x, c.m * c.k);
    in.numbers(c.w, c.n * c.k);
    return c;
}

// One open request per class; served in order of request time, then of class.
class Dma {
  public:
    explicit Dma(bool shared) : shared(shared) {}
    // Look at the requests of cycle `now`; grants[k] tells whether class k starts now.
    void step(i64 now, unsigned requests, const i64 cycles[3], bool grants[3]) {
        for (int k = 0; k < 3; k++) {
            grants[k] = false;
            if (!(requests >> k & 1) || now < end[k]) asked[k] = NEVER;
            else if (asked[k] == NEVER) asked[k] = now;
        }
        for (int server = 0; server < (shared ? 1 : 3); server++) {
            if (now < busy[server]) continue;
            int best = -1;
            for (int k = 0; k < 3; k++)
                if ((shared || k == server) && asked[k] != NEVER
                    && (best < 0 || asked[k] < asked[best])) best = k;
            if (best < 0) continue;
            grants[best] = true;
            end[best] = busy[server] = now + cycles[best];
            asked[best] = NEVER;
        }
    }
    i64 end[3] = {0, 0, 0};

  private:
    bool shared;
    i64 busy[3] = {0, 0, 0};
    i64 asked[3] = {NEVER, NEVER, NEVER};
};

struct Counts {
    i64 cycles = 0, last_write = 0, last_sum = 0;
    i64 weight_reads = 0, x_reads = 0, acc_reads = 0, acc_writes = 0;
};

class Bench {
  public:
    Bench(Vcore& core, const Case& c) : core(core), c(c), dma(c.shared) {}

    Counts run(std::vector<int32_t>& y) {
        y.assign(c.m * c.n, 0x5a5a5a5a);
        if (c.ideal)  // nothing is taken out: an empty column is its bias
            for (i64 i = 0; i < c.m * c.n; i++) y[i] = int32_t(c.bias[i % c.n]);
        reset();
        prepare();
        i64 finished = -1;
        for (i64 now = 0; finished < 0 || now < finished + R + 2; now++) {
            offer();
            core.clk = 0;
            core.eval();
            serve(now);
            core.eval();
            if (finished < 0 && core.visits_done == last_folds.size() && core.visits_out == c.outs.size())
                finished = now;
            observe(y, now);
            store();
            core.clk = 1;
            core.eval();
            answer();
            if (now > c.limit) { counts.cycles = -1; return counts; }
        }
        counts.cycles = finished;
        return counts;
    }

  private:
#ifndef OUTPUT_STATIONARY
    static const int H = R / G, PORTS = G > 1 ? 2 : 1, READS = PORTS * R;
#else
    static const int READS = R;
#endif

    void reset() {
        core.rst = 1;
        core.fold_valid = core.piece_valid = core.out_valid = 0;
        core.dma_accept = core.tile_arrive = core.piece_arrive = core.out_over = 0;
        core.out_pull = 0;
        core.ideal = c.ideal;
        core.slots = c.slots;
        core.tiles = c.tiles.size();
        for (int i = 0; i < 2 * (R + C) + 8; i++) {
            core.clk = 0; core.eval();
            core.clk = 1; core.eval();
        }
        core.rst = 0;
    }

    void prepare() {
        slot_tile.assign(c.slots + 1, -1);
        slices = (c.k + R - 1) / R;
        present.assign(c.chunks * slices + c.m, c.pieces.empty());
        for (size_t i = 0; i < c.folds.size(); i++)
            if (c.folds[i].last) last_folds.push_back(i);
        written.assign(C, 0);
    }

    // Heads of the lists.
    void offer() {
        core.fold_valid = fold < c.folds.size();
        if (core.fold_valid) {
            const Fold& f = c.folds[fold];
            core.fold_stored = f.stored; core.fold_release = f.release;
            core.fold_length = f.length;
            core.fold_rows = f.rows; core.fold_cols = f.cols; core.fold_need = f.need;
#ifdef OUTPUT_STATIONARY
            core.fold_held = f.held; core.fold_row = f.row;
#else
            core.fold_bank = f.row % G; core.fold_row = f.row / G;
            core.fold_first = f.first; core.fold_last = f.last;
            for (int g = 0; g < G; g++) put(core.fold_units, g * UNIT, UNIT, f.units[g]);
#endif
        }
#ifdef OUTPUT_STATIONARY
        if (next_run < c.runs.size()) {
            core.run_first = c.runs[next_run].first;
            core.run_length = c.runs[next_run].length;
        }
#endif
        core.piece_valid = piece < c.pieces.size();
        if (core.piece_valid) core.piece_after = c.pieces[piece].after;
        core.out_valid = out < c.outs.size();
        if (core.out_valid) {
            const Out& o = c.outs[out];
            core.out_empty = o.empty;
            core.out_request = o.header + o.bytes > 0;
            core.out_dram = o.dram;
            core.out_rows = o.rows;
        }
        if (y_out < c.outs.size())
            for (int col = 0; col < c.outs[y_out].cols; col++)
                put(core.out_bias, col * ACC, ACC, c.bias[c.outs[y_out].column + col]);
        core.dma_accept = core.tile_arrive = core.piece_arrive = core.out_over = 0;
    }

    // The channel, and what arrives at the end of this cycle.
    void serve(i64 now) {
        i64 cycles[3] = {0, 0, 0};
        if (core.dma_request & 1)
            cycles[0] = c.cycles(c.tile_bytes, 0) + c.cycles(c.tiles[tile].header, 0);
        if (core.dma_request & 2) cycles[1] = c.cycles(c.pieces[piece].bytes, 1);
        if (core.dma_request & 4)
            cycles[2] = c.cycles(c.outs[out].bytes, 2) + c.cycles(c.outs[out].header, 2);
        bool grants[3];
        dma.step(now, core.dma_request, cycles, grants);
        for (int k = 0; k < 3; k++) put(core.dma_accept, k, 1, grants[k]);
        if (grants[0]) {
            slot_tile[tile % c.slots] = -1;
            arrivals[0].push_back(dma.end[0] + c.latency);
            tile++;
        }
        if (grants[1]) {
            for (const Piece& old : c.pieces)
                if (old.chunk == c.pieces[piece].chunk - 2) present[old.key] = 0;
            arrivals[1].push_back(dma.end[1] + c.latency);
            piece++;
        }
        if (grants[2]) {
            // a header comes first, the rows in the rest of the time
            arrivals[2].push_back(dma.end[2]);
            pull_cycles = c.cycles(c.outs[out].bytes, 2);
            pull_start = dma.end[2] - pull_cycles;
            pulled = 0;
        }
        // rows are taken evenly over the transfer, at most one per cycle
        core.out_pull = core.out_valid && core.out_dram && now >= pull_start
            && pulled < c.outs[out].rows && (now - pull_start + 1) * c.outs[out].rows / pull_cycles > pulled;
        pulled += core.out_pull;
        core.tile_arrive = comes(0, now);
        core.piece_arrive = comes(1, now);
        core.out_over = comes(2, now);
    }

    // What arrived is in the buffers from the next cycle on. A slot is lost when the
    // transfer of its next tile begins, a half of the X buffer when that of its next piece.
    void store() {
        if (core.tile_arrive) {
            slot_tile[arrived[0] % c.slots] = arrived[0];
            arrived[0]++;
        }
        if (core.piece_arrive) {
            present[c.pieces[arrived[1]++].key] = 1;
        }
        if (core.out_over) arrived[2]++;
    }
    bool comes(int kind, i64 now) const {
        return arrived[kind] < arrivals[kind].size() && arrivals[kind][arrived[kind]] == now + 1;
    }

    // A weight of the tile that is read: its slot's, or where there is no FIFO the fold's.
    i64 weight(int col) const {
        i64 f = current, slice = streamed / R;
        if (c.folds[current].stored) {
            const i64 t = slot_tile[core.w_slot];
            if (t < 0) return -86;
            f = c.tiles[t].fold;
            slice = c.tiles[t].slice;
        }
        const Fold& fold = c.folds[f];
        if (col >= fold.cols) return 0;
#ifdef OUTPUT_STATIONARY
        const size_t at = slice * R + core.w_row;
        if (at >= fold.ks.size()) return 0;
        const i64 k = fold.ks[at];
#else
        (void)slice;
        const i64 k = fold.units[core.w_row / H] * H + core.w_row % H;
#endif
        return c.w[(fold.column + col) * c.k + k];
    }

    // What a word of the activation buffer's ports is; other than X where that is not there.
    i64 activation(int word) const {
#ifdef OUTPUT_STATIONARY
        const i64 row = core.x_row + word - (R - c.folds[current].rows), k = core.x_k;
        const bool here = row < c.m && k < c.k && present[row / R];
#else
        const int port = word / H;  // of a bank
        const i64 row = i64(get(core.x_row, port * ROW, ROW)) * G + port % G;
        const i64 k = i64(get(core.x_unit, port * UNIT, UNIT)) * H + word % H;
        const bool here =
            row < c.m && k < c.k && present[c.chunk_of_row[row] * slices + k / R];
#endif
        return here ? c.x[row * c.k + k] : 85;
    }

    // What the core reads and writes in this cycle.
    void observe(std::vector<int32_t>& y, i64 now) {
        if (core.fold_ready && core.fold_valid) { current = fold++; streamed = 0; }
        if (core.out_ready && core.out_valid) { out++; pulled = NEVER; }
#ifdef OUTPUT_STATIONARY
        if (core.run_ready) next_run++;
#endif
        read_w = core.w_read;
        if (read_w) {
            counts.weight_reads += core.w_cols;
            for (int col = 0; col < C; col++) w_value[col] = weight(col);
            streamed++;
        }
        for (int word = 0; word < READS; word++) {
            if (!get(core.x_lane, word, 1)) continue;
            counts.x_reads++;
            x_value[word] = activation(word);
        }
#ifdef OUTPUT_STATIONARY
        if (core.summed) counts.last_sum = now;
#endif
        for (int col = 0; col < C; col++) {
#ifndef OUTPUT_STATIONARY
            counts.acc_reads += get(core.acc_read, col, 1);
#endif
            if (!get(core.acc_write, col, 1)) continue;
            counts.acc_writes++;
            counts.last_write = now + 1;
#ifndef OUTPUT_STATIONARY
            if (!get(core.acc_last, col, 1)) continue;
#endif
            if (!c.ideal) continue;
            // columns that a ragged visit does not use are not written by it
            while (writer[col] < last_folds.size() && c.folds[last_folds[writer[col]]].cols <= col)
                writer[col]++;
            if (writer[col] == last_folds.size()) continue;  // a faulty core
            const Fold& f = c.folds[last_folds[writer[col]]];
            const i64 address = get(core.acc_addr, col * ADDR, ADDR);
#ifdef OUTPUT_STATIONARY
            const i64 row = f.row + address - (R - f.rows), rows = f.rows;
#else
            const i64 row = f.row + address, rows = f.length;
#endif
            const i64 sum = i64(get(core.acc_data, col * ACC, ACC)) + c.bias[f.column + col];
            y[row * c.n + f.column + col] = int32_t(extend(uint64_t(sum), ACC));
            if (++written[col] == rows) { written[col] = 0; writer[col]++; }
        }
        if (core.y_valid) {
            while (y_out < c.outs.size() && c.outs[y_out].rows == 0) y_out++;
            const Out& o = c.outs[y_out];
#ifdef OUTPUT_STATIONARY
            const i64 row = o.row + o.rows - 1 - y_row;  // the lowest row leaves first
#else
            const i64 row = o.row + y_row;
#endif
            for (int col = 0; col < o.cols; col++)
                y[row * c.n + o.column + col] =
                    int32_t(extend(get(core.y_data, col * ACC, ACC), ACC));
            if (++y_row == o.rows) { y_row = 0; y_out++; }
        }
    }

    // Read data appears after the edge.
    void answer() {
        if (read_w)
            for (int col = 0; col < C; col++) put(core.w_data, col * W, W, w_value[col]);
        for (int word = 0; word < READS; word++) put(core.x_data, word * A, A, x_value[word]);
    }

    Vcore& core;
    const Case& c;
    Dma dma;
    Counts counts;
    size_t fold = 0, tile = 0, piece = 0, out = 0, y_out = 0, current = 0, next_run = 0;
    i64 y_row = 0, slices = 0, streamed = 0;
    i64 pull_start = 0, pull_cycles = 1, pulled = NEVER;
    bool read_w = false;
    i64 w_value[C] = {}, x_value[READS] = {};
    std::vector<i64> slot_tile, present, written;
    size_t writer[C] = {};
    std::vector<size_t> last_folds;
    std::vector<i64> arrivals[3];
    size_t arrived[3] = {0, 0, 0};
};

int main(int argc, char** argv) {
    if (argc != 3) { std::fputs("usage: bench CASES RESULTS\n", stderr); return 2; }
    Verilated::randReset(2);
    Verilated::randSeed(1);
    Reader in(argv[1]);
    std::FILE* results = std::fopen(argv[2], "wb");
    if (!results) { std::perror(argv[2]); return 2; }
    auto core = std::make_unique<Vcore>();
    std::vector<int32_t> y;
    while (in.more()) {
        const Case c = read_case(in);
        const Counts n = Bench(*core, c).run(y);
        for (const i64 value : {n.cycles, n.last_write, n.last_sum, n.weight_reads, n.x_reads, n.acc_reads,
                                n.acc_writes})
            std::printf("%lld ", (long long)value);
        std::printf("\n");
        std::fwrite(y.data(), sizeof(int32_t), y.size(), results);
    }
    std::fclose(results);
    return 0;
}
