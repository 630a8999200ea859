// Walks the block list: when each tile shifts in, when each fold streams.
//
// A fold's tile may shift in from the cycle in which
//   OVERLAP 0 (double-buffered): the fold before it starts to stream,
//   OVERLAP 1 (single-buffered): the last row of the fold before it has entered,
//   OVERLAP 2 (serial):          R + C - 2 cycles after that,
// and its tile is there. It streams when it is in, the fold before it has ended,
// its rows of X have arrived and, for the first fold of a visit, a bank is free.
module lsp_ws_control #(
    parameter int R = 4,
    parameter int C = 4,
    parameter int G = 1,
    parameter int OVERLAP = 0,
    parameter int ADDR = 8,   // rows of an accumulator bank
    parameter int ROW = 16,   // rows of X
    parameter int UNIT = 16,  // sub-blocks of K
    parameter int XB = 1,     // banks of X
    parameter int NUM = 24,   // tiles, transfers, visits
    parameter int RW = 3,     // counts 0..R
    parameter int CW = 3      // counts 0..C
) (
    input  logic              clk,
    input  logic              rst,
    input  logic              ideal,
    input  logic [NUM-1:0]    slots,
    // block list: one entry per fold
    input  logic              fold_valid,
    output logic              fold_ready,
    input  logic              fold_first,
    input  logic              fold_last,
    input  logic              fold_stored,
    input  logic              fold_release,
    input  logic [ADDR:0]     fold_length,
    input  logic [XB-1:0]     fold_bank,
    input  logic [ROW-1:0]    fold_row,
    input  logic [RW-1:0]     fold_rows,
    input  logic [CW-1:0]     fold_cols,
    input  logic [NUM-1:0]    fold_need,
    input  logic [G*UNIT-1:0] fold_units,
    // what has arrived, what is free
    input  logic [NUM-1:0]    tiles_arrived,
    input  logic [NUM-1:0]    pieces_arrived,
    input  logic              bank_free,
    output logic              slot_freed,
    output logic              visit_started,
    output logic              visit_consumed,
    // weight buffer, bottom row of the tile first
    output logic              shift,
    output logic              shift_begin,
    output logic              w_read,
    output logic [NUM-1:0]    w_slot,
    output logic [RW-1:0]     w_row,
    output logic [CW-1:0]     w_cols,
    // stream: one row of X per cycle
    output logic              stream,
    output logic              stream_begin,
    output logic              stream_end,
    output logic              stream_first,
    output logic              stream_last,
    output logic              stream_bank,
    output logic [ADDR-1:0]   stream_addr,
    output logic              stream_port,
    output logic [XB-1:0]     stream_x_bank,
    output logic [ROW-1:0]    stream_row,
    output logic [RW-1:0]     stream_rows,
    output logic [CW-1:0]     stream_cols,
    output logic [G*UNIT-1:0] stream_units
);
    localparam int GAP = R + C - 2;
    localparam int GW = $clog2(GAP + 1);

    // ---- the tile that shifts in, or waits in the shadow registers
    typedef enum logic [1:0] {EMPTY, SHIFTING, LOADED} state_t;
    state_t state;
    logic [RW-1:0] to_shift;
    logic          next_first, next_last, next_release, next_stored;
    logic [ADDR:0] next_length;
    logic [XB-1:0] next_x_bank;
    logic [ROW-1:0] next_row;
    logic [RW-1:0] next_rows;
    logic [CW-1:0] next_cols;
    logic [NUM-1:0] next_need;
    logic [NUM-1:0] next_slot;
    logic [G*UNIT-1:0] next_units;

    // ---- the fold that streams
    logic [ADDR:0] left;
    logic          now_first, now_last, bank, port;
    logic [ADDR-1:0] now_addr;
    logic [XB-1:0] now_x_bank;
    logic [ROW-1:0] now_row;
    logic [RW-1:0] now_rows;
    logic [CW-1:0] now_cols;
    logic [G*UNIT-1:0] now_units;
    logic          idle;
    logic [GW-1:0] gap;

    // ---- tiles in the queue: number and slot of this fold's, and of the column's first
    logic [NUM-1:0] tile, base, slot, base_slot, tile_next, slot_next;

    logic tile_here, may_shift;

    assign tile_here = !fold_stored || tiles_arrived > tile;
    assign idle = left == 0;
    assign stream_begin = state == LOADED && idle && pieces_arrived >= next_need
                          && (!next_first || ideal || bank_free);
    if (OVERLAP == 0) begin : g_double
        assign may_shift = state == EMPTY || stream_begin;
    end else if (OVERLAP == 1) begin : g_single
        assign may_shift = state == EMPTY && idle;
    end else begin : g_serial
        assign may_shift = state == EMPTY && idle && gap == 0;
    end
    assign shift_begin = may_shift && fold_valid && tile_here && !rst;
    assign fold_ready = shift_begin;

    // ---- shift
    assign shift = shift_begin || state == SHIFTING;
    assign w_row = shift_begin ? RW'(R - 1) : to_shift - 1'b1;
    assign w_slot = shift_begin ? slot : next_slot;
    assign w_cols = shift_begin ? fold_cols : next_cols;
    assign w_read = shift && w_row < (shift_begin ? fold_rows : next_rows);
    assign slot_freed = state == SHIFTING && to_shift == 1 && next_stored && next_release;

    assign tile_next = tile + 1;
    assign slot_next = slot + 1 == slots ? '0 : slot + 1;

    always_ff @(posedge clk) begin
        if (rst) begin
            state <= EMPTY;
            to_shift <= '0;
            tile <= '0;
            base <= '0;
            slot <= '0;
            base_slot <= '0;
        end else begin
            if (shift_begin) begin
                state <= SHIFTING;
                to_shift <= RW'(R - 1);
                if (fold_stored) begin
                    if (fold_last && !fold_release) begin
                        tile <= base;
                        slot <= base_slot;
                    end else begin
                        tile <= tile_next;
                        slot <= slot_next;
                        if (fold_last) begin
                            base <= tile_next;
                            base_slot <= slot_next;
                        end
                    end
                end
            end else if (state == SHIFTING) begin
                to_shift <= to_shift - 1;
                if (to_shift == 1) state <= LOADED;
            end else if (stream_begin) begin
                state <= EMPTY;
            end
        end
        if (shift_begin) begin
            next_first <= fold_first;
            next_last <= fold_last;
            next_release <= fold_release;
            next_stored <= fold_stored;
            next_length <= fold_length;
            next_x_bank <= fold_bank;
            next_row <= fold_row;
            next_rows <= fold_rows;
            next_cols <= fold_cols;
            next_need <= fold_need;
            next_slot <= slot;
            next_units <= fold_units;
        end
    end

    // ---- stream
    assign stream = stream_begin || !idle;
    assign stream_end = stream_begin ? next_length == 1 : left == 1;
    assign stream_first = stream_begin ? next_first : now_first;
    assign stream_last = stream_begin ? next_last : now_last;
    assign stream_bank = (stream_begin && next_first) ^ bank;
    assign stream_addr = stream_begin ? '0 : now_addr;
    assign stream_port = stream_begin ^ port;
    assign stream_x_bank = stream_begin ? next_x_bank : now_x_bank;
    assign stream_row = stream_begin ? next_row : now_row;
    assign stream_rows = stream_begin ? next_rows : now_rows;
    assign stream_cols = stream_begin ? next_cols : now_cols;
    assign stream_units = stream_begin ? next_units : now_units;
    assign visit_started = stream_begin && next_first;
    assign visit_consumed = stream && stream_end && stream_last;

    always_ff @(posedge clk) begin
        if (rst) begin
            left <= '0;
            bank <= 1'b1;
            port <= 1'b0;
            gap <= '0;
        end else begin
            if (stream_begin) left <= next_length - 1;
            else if (!idle) left <= left - 1;
            bank <= stream_bank;
            port <= stream_port;
            if (stream && stream_end) gap <= GW'(GAP);
            else if (gap != 0) gap <= gap - 1;
        end
        now_first <= stream_first;
        now_last <= stream_last;
        now_addr <= stream_addr + 1;
        // row m of X is word m / G of bank m mod G
        now_x_bank <= stream_x_bank == XB'(G - 1) ? '0 : stream_x_bank + 1;
        now_row <= stream_row + ROW'(stream_x_bank == XB'(G - 1));
        now_rows <= stream_rows;
        now_cols <= stream_cols;
        now_units <= stream_units;
    end
endmodule
