// A weight-stationary block-sparse core. Weight and activation buffers, DRAM and
// the lists are outside; everything that decides a cycle is in here.
module lsp_ws_core #(
    parameter int R = 4,
    parameter int C = 4,
    parameter int W = 8,
    parameter int A = 8,
    parameter int ACC = 32,
    parameter int DEPTH = 256,
    parameter int OVERLAP = 0,
    parameter int G = 1,
    parameter int ROW = 16,
    parameter int UNIT = 16,
    parameter int NUM = 24,
    parameter int XB = G > 1 ? $clog2(G) : 1,
    parameter int PORTS = G > 1 ? 2 : 1,
    parameter int ADDR = $clog2(DEPTH),
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
    // weight buffer
    output logic              w_read,
    output logic [NUM-1:0]    w_slot,
    output logic [RW-1:0]     w_row,
    output logic [CW-1:0]     w_cols,
    input  logic [C*W-1:0]    w_data,
    // activation buffer: PORTS read ports of G banks of R/G words
    output logic [PORTS*R-1:0] x_lane,
    output logic [PORTS*G*ROW-1:0] x_row,
    output logic [PORTS*G*UNIT-1:0] x_unit,
    input  logic [PORTS*R*A-1:0] x_data,
    // accumulators, as they are used
    output logic [C-1:0]      acc_read,
    output logic [C-1:0]      acc_write,
    output logic [C-1:0]      acc_last,
    output logic [C*ADDR-1:0] acc_addr,
    output logic [C*ACC-1:0]  acc_data,
    // results, one row per cycle
    output logic              y_valid,
    output logic [C*ACC-1:0]  y_data,
    output logic [NUM-1:0]    visits_done,
    output logic [NUM-1:0]    visits_out
);
    logic [NUM-1:0] tiles_arrived, pieces_arrived;
    logic bank_free, slot_freed, visit_started, visit_consumed, visit_read, visit_done;
    logic shift, shift_begin;
    logic stream, stream_begin, stream_end, stream_first, stream_last, stream_bank;
    logic stream_port;
    logic [XB-1:0] stream_x_bank;
    logic [ADDR-1:0] stream_addr;
    logic [ROW-1:0] stream_row;
    logic [RW-1:0] stream_rows;
    logic [CW-1:0] stream_cols;
    logic [G*UNIT-1:0] stream_units;

    lsp_ws_control #(
        .R(R), .C(C), .G(G), .OVERLAP(OVERLAP), .ADDR(ADDR), .ROW(ROW), .UNIT(UNIT), .XB(XB), .NUM(NUM),
        .RW(RW), .CW(CW)
    ) control (.*);

    lsp_fetch #(.NUM(NUM)) fetch (
        .clk, .rst, .slots, .tiles,
        .tile_request(dma_request[0]), .tile_accept(dma_accept[0]), .tile_arrive,
        .slot_freed, .slots_freed(NUM'(1)), .tiles_arrived,
        .piece_valid, .piece_after,
        .piece_request(dma_request[1]), .piece_arrive,
        .pieces_arrived, .visit_consumed(visit_read)
    );

    assign piece_ready = dma_accept[1];

    logic [C*W-1:0] w_top;
    logic [R*A-1:0] a_left;
    logic [R-1:0] first_left, shift_left;
    logic [C*ACC-1:0] p_bottom;

    lsp_load #(.R(R), .C(C), .W(W)) load (
        .clk, .rst, .shift, .begins(shift_begin), .read(w_read), .w_data, .w_top, .shift_left
    );

    logic [R-1:0] read_lane;
    logic [G-1:0] read_port;
    logic [G*XB-1:0] read_bank;
    logic [G*ROW-1:0] read_row;
    logic [G*UNIT-1:0] read_unit;
    logic [R*A-1:0] read_data;
    lsp_feed #(.R(R), .A(A), .G(G), .ROW(ROW), .UNIT(UNIT), .XB(XB), .RW(RW)) feed (
        .clk, .rst, .stream, .begins(stream_begin), .port(stream_port), .bank(stream_x_bank),
        .row(stream_row), .rows(stream_rows), .units(stream_units), .read_lane, .read_port,
        .read_bank, .read_row, .read_unit, .read_data, .a_left, .first_left
    );
    lsp_gather #(
        .R(R), .A(A), .G(G), .ROW(ROW), .UNIT(UNIT), .XB(XB), .PORTS(PORTS)
    ) gather (
        .clk, .lane(read_lane), .row(read_row), .bank(read_bank), .port(read_port),
        .unit(read_unit), .data(read_data), .x_lane, .x_row, .x_unit, .x_data
    );

    lsp_array #(.R(R), .C(C), .W(W), .A(A), .ACC(ACC), .DOUBLE(OVERLAP == 0)) array (
        .clk, .a_left, .first_left, .shift_left, .w_top, .p_bottom
    );

    // ---- accumulators: a row's token comes to column c with the row's sum
    localparam int TOKEN = ADDR + CW + 4;
    logic valid_0;
    logic [TOKEN-1:0] token_before, token_0;
    lsp_delay #(.WIDTH(TOKEN), .N(R - 1)) wait_rows (
        .clk,
        .d({stream_addr, stream_cols, stream_bank, stream_first, stream_last,
            stream_end && stream_last}),
        .q(token_before)
    );
    logic [R-1:0] valid_line;
    always_ff @(posedge clk) begin
        valid_line <= rst ? '0 : {valid_line[R-2:0], stream};
        token_0 <= token_before;
    end
    assign valid_0 = valid_line[R-1];

    // a core that gathers reads up to R - 1 cycles behind (docs/model.md, "Live tiles and packing")
    assign visit_read = G > 1 ? valid_line[R-2] && token_before[0] : visit_consumed;

    logic drain, drain_zero, drain_bank, zero_1;
    logic [ADDR-1:0] drain_addr;
    for (genvar c = 0; c < C; c++) begin : g_acc
        logic valid;
        logic [TOKEN-1:0] token;
        logic [ADDR-1:0] addr;
        logic [CW-1:0] cols;
        logic bank, first, last;
        /* verilator lint_off UNUSEDSIGNAL */
        logic done;  // leaves from the last column only
        /* verilator lint_on UNUSEDSIGNAL */
        logic [ACC-1:0] drained;
        assign {addr, cols, bank, first, last, done} = token;
        if (c == 0) begin : g_in
            assign valid = valid_0;
            assign token = token_0;
        end else begin : g_pass
            always_ff @(posedge clk) begin
                valid <= g_acc[c-1].valid && !rst;
                token <= g_acc[c-1].token;
            end
        end
        lsp_accumulator #(.ACC(ACC), .DEPTH(DEPTH), .ADDR(ADDR)) accumulator (
            .clk, .rst,
            .valid(valid && cols > CW'(c)), .bank, .first, .last, .addr,
            .sum(p_bottom[c*ACC+:ACC]),
            .read(acc_read[c]), .write(acc_write[c]), .write_last(acc_last[c]),
            .write_addr(acc_addr[c*ADDR+:ADDR]), .write_data(acc_data[c*ACC+:ACC]),
            .drain, .drain_bank, .drain_addr, .drain_data(drained)
        );
        assign y_data[c*ACC+:ACC] = (zero_1 ? '0 : drained) + out_bias[c*ACC+:ACC];
    end
    logic done_1;
    always_ff @(posedge clk) done_1 <= g_acc[C-1].valid && g_acc[C-1].done && !rst;
    assign visit_done = done_1;

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
