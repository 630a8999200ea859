// Walks the block list of an output-stationary core: when each fold streams.
//
// A fold multiplies K' kept values of K. It starts when the fold before it leaves
// room in the output chain,
//   OVERLAP 0 (double-buffered): R cycles between the ends of two folds,
//   OVERLAP 2 (serial):          R + C - 2 cycles after the last operand,
// its column's slices of W and its rows of X have arrived, and a bank is free.
module lsp_os_control #(
    parameter int R = 4,
    parameter int C = 4,
    parameter int OVERLAP = 0,
    parameter int KW = 16,    // values of K
    parameter int ROW = 16,   // rows of X
    parameter int NUM = 24,   // slices, transfers, visits
    parameter int RW = 3,     // counts 0..R
    parameter int CW = 3      // counts 0..C
) (
    input  logic           clk,
    input  logic           rst,
    input  logic           ideal,
    input  logic [NUM-1:0] slots,
    // block list: one entry per fold
    input  logic           fold_valid,
    output logic           fold_ready,
    input  logic           fold_stored,
    input  logic           fold_release,
    input  logic [KW-1:0]  fold_length,
    input  logic [NUM-1:0] fold_held,
    input  logic [ROW-1:0] fold_row,
    input  logic [RW-1:0]  fold_rows,
    input  logic [CW-1:0]  fold_cols,
    input  logic [NUM-1:0] fold_need,
    // runs of kept K, in the order of use
    output logic           run_ready,
    input  logic [KW-1:0]  run_first,
    input  logic [KW-1:0]  run_length,
    // what has arrived, what is free
    input  logic [NUM-1:0] tiles_arrived,
    input  logic [NUM-1:0] pieces_arrived,
    input  logic           bank_free,
    output logic           slot_freed,
    output logic [NUM-1:0] slots_freed,
    output logic           visit_started,
    output logic           visit_consumed,
    // stream: one value of K per cycle
    output logic           stream,
    output logic           stream_begin,
    output logic           stream_end,
    output logic [NUM-1:0] w_slot,
    output logic [RW-1:0]  w_row,
    output logic [KW-1:0]  stream_k,
    output logic [ROW-1:0] stream_row,
    output logic [RW-1:0]  stream_rows,
    output logic [CW-1:0]  stream_cols,
    output logic           stream_bank
);
    localparam int GAP = R + C - 2;
    localparam int GW = $clog2(GAP + R + 1);

    logic [KW-1:0] left, offset;
    logic idle, bank, room, started;
    logic [GW-1:0] since;  // cycles from the end of the last stream, at most GAP + R
    logic now_stored, now_release;
    logic [NUM-1:0] now_held, tile, base_slot, slot, slot_now, slot_after;
    logic [ROW-1:0] now_row;
    logic [RW-1:0] now_rows, row_in_slot;
    logic [CW-1:0] now_cols;

    assign idle = left == 0;
    if (OVERLAP == 0) begin : g_double
        assign room = !started || 32'(since) + 32'(fold_length) >= R;
    end else begin : g_serial
        assign room = !started || 32'(since) >= GAP;
    end
    assign stream_begin = idle && fold_valid && room && !rst
                          && (!fold_stored || tiles_arrived >= tile + fold_held)
                          && pieces_arrived >= fold_need && (ideal || bank_free);
    assign fold_ready = stream_begin;

    assign stream = stream_begin || !idle;
    assign stream_end = stream_begin ? fold_length == 1 : left == 1;
    assign stream_row = stream_begin ? fold_row : now_row;
    assign stream_rows = stream_begin ? fold_rows : now_rows;
    assign stream_cols = stream_begin ? fold_cols : now_cols;
    assign stream_bank = stream_begin ^ bank;
    assign visit_started = stream_begin;
    assign visit_consumed = stream && stream_end;
    assign slots_freed = stream_begin ? fold_held : now_held;
    assign slot_freed = visit_consumed && (stream_begin ? fold_stored : now_stored)
                        && (stream_begin ? fold_release : now_release);

    // W: slot by slot; X: run by run
    assign slot_now = stream_begin ? base_slot : slot;
    assign slot_after = slot_now + 1 == slots ? '0 : slot_now + 1;
    assign w_slot = slot_now;
    assign w_row = stream_begin ? '0 : row_in_slot;
    assign stream_k = run_first + offset;
    assign run_ready = stream && offset + 1'b1 == run_length;

    always_ff @(posedge clk) begin
        if (rst) begin
            left <= '0;
            offset <= '0;
            bank <= 1'b1;
            since <= '0;
            started <= 1'b0;
            tile <= '0;
            base_slot <= '0;
        end else begin
            if (stream_begin) left <= fold_length - 1'b1;
            else if (!idle) left <= left - 1'b1;
            if (stream) offset <= run_ready ? '0 : offset + 1'b1;
            if (stream) since <= '0;
            else if (32'(since) < GAP + R) since <= since + 1'b1;
            bank <= stream_bank;
            started <= started || stream_begin;
            if (slot_freed) begin
                tile <= tile + slots_freed;
                base_slot <= slot_after;
            end
        end
        slot <= w_row == RW'(R - 1) ? slot_after : slot_now;
        row_in_slot <= w_row == RW'(R - 1) ? '0 : w_row + 1'b1;
        if (stream_begin) begin
            now_stored <= fold_stored;
            now_release <= fold_release;
            now_held <= fold_held;
            now_row <= fold_row;
            now_rows <= fold_rows;
            now_cols <= fold_cols;
        end
    end
endmodule
