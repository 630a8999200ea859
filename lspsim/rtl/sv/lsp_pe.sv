// One weight-stationary processing element.
//
// A weight tile moves down the column through `shadow` while the tile before it
// is still in use. The first operand of a fold carries `first`: it is multiplied
// with the waiting weight at once (bypass), which then becomes the active one.
// With DOUBLE = 0 there is one weight register, which is also the shift register.
module lsp_pe #(
    parameter int W = 8,
    parameter int A = 8,
    parameter int ACC = 32,
    parameter bit DOUBLE = 1
) (
    input  logic                  clk,
    input  logic signed [A-1:0]   a_in,
    input  logic                  first_in,
    input  logic                  shift_in,
    input  logic signed [W-1:0]   w_in,
    input  logic signed [ACC-1:0] p_in,
    output logic signed [A-1:0]   a_out,
    output logic                  first_out,
    output logic                  shift_out,
    output logic signed [W-1:0]   w_out,
    output logic signed [ACC-1:0] p_out
);
    /* verilator no_inline_module */  // keeps the build of large arrays short
    logic signed [W-1:0] shadow;
    logic signed [W-1:0] weight;
    logic signed [A+W-1:0] product;

    if (DOUBLE) begin : g_double
        logic signed [W-1:0] active;
        assign weight = first_in ? shadow : active;
        always_ff @(posedge clk) if (first_in) active <= shadow;
    end else begin : g_single
        assign weight = shadow;
    end

    assign product = a_in * weight;
    assign w_out = shadow;

    always_ff @(posedge clk) begin
        if (shift_in) shadow <= w_in;
        a_out <= a_in;
        first_out <= first_in;
        shift_out <= shift_in;
        p_out <= p_in + ACC'(product);
    end
endmodule
