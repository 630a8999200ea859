// An output-stationary block-sparse core. Weight and activation buffers, DRAM and
// the lists are outside; everything that decides a cycle is in here.
//
// Edge tiles lie at the array's lower rows. A finished tile leaves down the columns,
// lowest row first, one row per cycle; a visit counts as done when the first of its
// rows is in the bank, and is taken out in the same order behind it.
module lsp_os_core #(
    parameter int R = 4,
    parameter int C = 4,
    parameter int W = 8,
    parameter int A = 8,
    parameter int ACC = 32,
    parameter int OVERLAP = 0,
    parameter int KW = 16,
    parameter int ROW = 16,
    parameter int NUM = 24,
    parameter int ADDR = $clog2(R),
    parameter int RW = $clog2(R + 1),
    parameter int CW = $clog2(C + 1)
) (
    input  logic              clk,
    input  logic              rst,
    input  logic              ideal,
    input  logic [NUM-1:0]    slots,
    input  logic [NUM-1:0]    tiles,
    // block list
    input  logic              fold_valid,
    output logic              fold_ready,
    input  logic              fold_stored,
    input  logic              fold_release,
    input  logic [KW-1:0]     fold_length,
    input  logic [NUM-1:0]    fold_held,
    input  logic [ROW-1:0]    fold_row,
    input  logic [RW-1:0]     fold_rows,
    input  logic [CW-1:0]     fold_cols,
    input  logic [NUM-1:0]    fold_need,
    output logic              run_ready,
    input  logic [KW-1:0]     run_first,
    input  logic [KW-1:0]     run_length,
    // pieces of X
    input  logic              piece_valid,
    output logic              piece_ready,
    input  logic [NUM-1:0]    piece_after,
    // results
    input  logic              out_valid,
    output logic              out_ready,
    input  logic              out_empty,
    input  logic              out_request,
    input  logic              out_dram,
    input  logic [ADDR:0]     out_rows,
    input  logic [C*ACC-1:0]  out_bias,
    // DMA, by class: 0 weights, 1 activations, 2 write-back
    output logic [2:0]        dma_request,
    input  logic [2:0]        dma_accept,
    input  logic              tile_arrive,
    input  logic              piece_arrive,
    input  logic              out_over,
    input  logic              out_pull,
    // weight buffer: one row of a slice of W
    output logic              w_read,
    output logic [NUM-1:0]    w_slot,
    output logic [RW-1:0]     w_row,
    output logic [CW-1:0]     w_cols,
    input  logic [C*W-1:0]    w_data,
    // activation buffer: one value of K for R rows
    output logic [R-1:0]      x_lane,
    output logic [ROW-1:0]    x_row,
    output logic [KW-1:0]     x_k,
    input  logic [R*A-1:0]    x_data,
    // accumulators, as they are used; address = array row
    output logic              summed,
    output logic [C-1:0]      acc_write,
    output logic [C*ADDR-1:0] acc_addr,
    output logic [C*ACC-1:0]  acc_data,
    // results, one row per cycle
    output logic              y_valid,
    output logic [C*ACC-1:0]  y_data,
    output logic [NUM-1:0]    visits_done,
    output logic [NUM-1:0]    visits_out
);
    logic [NUM-1:0] tiles_arrived, pieces_arrived, slots_freed;
    logic bank_free, slot_freed, visit_started, visit_consumed, visit_done;
    logic stream, stream_begin, stream_end, stream_bank;
    logic [KW-1:0] stream_k;
    logic [ROW-1:0] stream_row;
    logic [RW-1:0] stream_rows;
    logic [CW-1:0] stream_cols;

    lsp_os_control #(
        .R(R), .C(C), .OVERLAP(OVERLAP), .KW(KW), .ROW(ROW), .NUM(NUM), .RW(RW), .CW(CW)
    ) control (.*);

    lsp_fetch #(.NUM(NUM)) fetch (
        .clk, .rst, .slots, .tiles,
        .tile_request(dma_request[0]), .tile_accept(dma_accept[0]), .tile_arrive,
        .slot_freed, .slots_freed, .tiles_arrived,
        .piece_valid, .piece_after, .piece_request(dma_request[1]), .piece_arrive,
        .pieces_arrived, .visit_consumed
    );
    assign piece_ready = dma_accept[1];

    // ---- operands: read, then skewed
    assign w_read = stream;
    assign w_cols = stream_cols;
    assign x_row = stream_row;
    assign x_k = stream_k;

    logic first_1, last_1;
    logic [R-1:0] lane_1;
    always_ff @(posedge clk) begin
        first_1 <= stream_begin;
        last_1 <= stream && stream_end && !rst;
        lane_1 <= x_lane;
    end
    logic [R*A-1:0] a_left;
    logic [R-1:0] first_left, last_left, move_left;
    for (genvar r = 0; r < R; r++) begin : g_row
        assign x_lane[r] = stream && stream_rows >= RW'(R - r);
        lsp_delay #(.WIDTH(A + 2), .N(r)) skew (
            .clk,
            .d({first_1, last_1, lane_1[r] ? x_data[r*A+:A] : A'(0)}),
            .q({first_left[r], last_left[r], a_left[r*A+:A]})
        );
    end
    logic [C*W-1:0] w_top;
    for (genvar c = 0; c < C; c++) begin : g_col
        lsp_delay #(.WIDTH(W), .N(c)) skew (.clk, .d(w_data[c*W+:W]), .q(w_top[c*W+:W]));
    end

    logic [C*ACC-1:0] y_bottom;
    lsp_os_array #(.R(R), .C(C), .W(W), .A(A), .ACC(ACC)) array (.*);

    // ---- output chain: row r takes over r times, from the cycle after the lowest row is done
    localparam int TOKEN = RW + CW + 1;
    logic [R:0] ended;
    logic [TOKEN-1:0] token_e, token_now, token_held;
    logic begins, valid_0;
    logic [ADDR-1:0] row_0;  // array row that leaves column 0
    logic [R-1:0] rest;      // rows that still take over
    logic more;              // rows that have not left yet
    lsp_delay #(.WIDTH(TOKEN), .N(R + 1)) wait_rows (
        .clk, .d({stream_rows, stream_cols, stream_bank}), .q(token_e)
    );
    assign begins = ended[R];
    assign move_left = begins ? {{(R - 1){1'b1}}, 1'b0} : rest;
    assign valid_0 = begins || more;
    assign token_now = begins ? token_e : token_held;
    logic [ADDR-1:0] row_left;
    assign row_0 = begins ? ADDR'(R - 1) : row_left;
    always_ff @(posedge clk) begin
        ended <= rst ? '0 : {ended[R-1:0], stream && stream_end};
        rest <= rst ? '0 : {move_left[R-2:0], 1'b0};
        row_left <= row_0 - 1'b1;
        more <= valid_0 && row_0 != 0 && !rst;
        token_held <= token_now;
    end

    // ---- accumulator banks: one row of the tile per array row
    logic drain, drain_zero, drain_bank, zero_1, done_0;
    logic [ADDR-1:0] drain_addr, drain_row;
    assign drain_row = ADDR'(R - 1) - drain_addr;
    localparam int PASSED = ADDR + TOKEN + 2;
    for (genvar c = 0; c < C; c++) begin : g_acc
        logic [PASSED-1:0] passed;
        logic valid, bank;
        /* verilator lint_off UNUSEDSIGNAL */
        logic first_row;  // leaves from the last column only
        /* verilator lint_on UNUSEDSIGNAL */
        logic [ADDR-1:0] row;
        logic [RW-1:0] rows;
        logic [CW-1:0] cols;
        logic [ACC-1:0] drained;
        assign {valid, first_row, row, rows, cols, bank} = passed;
        if (c == 0) begin : g_in
            assign passed = {valid_0, begins, row_0, token_now};
        end else begin : g_pass
            always_ff @(posedge clk) passed <= rst ? '0 : g_acc[c-1].passed;
        end
        assign acc_write[c] = valid && cols > CW'(c) && rows > RW'(R - 1) - RW'(row);
        assign acc_addr[c*ADDR+:ADDR] = row;
        assign acc_data[c*ACC+:ACC] = y_bottom[c*ACC+:ACC];

        logic [2*ACC-1:0] data;
        for (genvar b = 0; b < 2; b++) begin : g_bank
            lsp_sram #(.WIDTH(ACC), .DEPTH(R), .ADDR(ADDR)) sram (
                .clk,
                .re(drain && drain_bank == (b == 1)), .raddr(drain_row),
                .rdata(data[b*ACC+:ACC]),
                .we(acc_write[c] && bank == (b == 1)), .waddr(row),
                .wdata(y_bottom[c*ACC+:ACC])
            );
        end
        logic drain_bank_1;
        always_ff @(posedge clk) drain_bank_1 <= drain_bank;
        assign drained = drain_bank_1 ? data[ACC+:ACC] : data[0+:ACC];
        assign y_data[c*ACC+:ACC] = (zero_1 ? '0 : drained) + out_bias[c*ACC+:ACC];
        if (c == C - 1) begin : g_done
            assign done_0 = valid && first_row;
        end
    end
    assign visit_done = done_0;

    lsp_writeback #(.ADDR(ADDR), .NUM(NUM)) writeback (
        .clk, .rst, .out_valid, .out_ready, .out_empty, .out_request, .out_dram, .out_rows,
        .visit_started, .visit_done, .bank_free,
        .request(dma_request[2]), .accept(dma_accept[2]), .over(out_over), .pull(out_pull),
        .drain, .drain_zero, .drain_bank, .drain_addr, .visits_done, .visits_out
    );
    always_ff @(posedge clk) begin
        y_valid <= drain && !rst;
        zero_1 <= drain_zero;
    end
endmodule
