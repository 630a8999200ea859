// Brings a tile from the weight buffer to the top of the array: padding rows are
// zero, column c waits c cycles, and row r of the array shifts R - r times only,
// so that weights still in use stay.
module lsp_load #(
    parameter int R = 4,
    parameter int C = 4,
    parameter int W = 8
) (
    input  logic           clk,
    input  logic           rst,
    input  logic           shift,
    input  logic           begins,
    input  logic           read,
    input  logic [C*W-1:0] w_data,
    output logic [C*W-1:0] w_top,
    output logic [R-1:0]   shift_left
);
    logic active, real_row;
    logic [R-1:0] reach;  // rows that the first word has come to

    always_ff @(posedge clk) begin
        active <= shift && !rst;
        real_row <= read;
        if (begins) reach <= R'(1);
        else reach <= {reach[R-2:0], 1'b1};
    end
    assign shift_left = active ? reach : '0;

    for (genvar c = 0; c < C; c++) begin : g_col
        lsp_delay #(.WIDTH(W), .N(c)) skew (
            .clk,
            .d(real_row ? w_data[c*W+:W] : W'(0)),
            .q(w_top[c*W+:W])
        );
    end
endmodule
