// One output-stationary processing element.
//
// `first` starts a new sum, `last` hands the finished one to the output chain, by
// which it moves down the column while the next sum is collected.
module lsp_os_pe #(
    parameter int W = 8,
    parameter int A = 8,
    parameter int ACC = 32
) (
    input  logic                  clk,
    input  logic signed [A-1:0]   a_in,
    input  logic                  first_in,
    input  logic                  last_in,
    input  logic                  move_in,
    input  logic signed [W-1:0]   w_in,
    input  logic signed [ACC-1:0] y_in,
    output logic signed [A-1:0]   a_out,
    output logic                  first_out,
    output logic                  last_out,
    output logic                  move_out,
    output logic signed [W-1:0]   w_out,
    output logic signed [ACC-1:0] y_out
);
    /* verilator no_inline_module */  // keeps the build of large arrays short
    logic signed [ACC-1:0] sum, next;
    logic signed [A+W-1:0] product;

    assign product = a_in * w_in;
    assign next = (first_in ? '0 : sum) + ACC'(product);

    always_ff @(posedge clk) begin
        sum <= next;
        if (last_in) y_out <= next;
        else if (move_in) y_out <= y_in;
        a_out <= a_in;
        first_out <= first_in;
        last_out <= last_in;
        move_out <= move_in;
        w_out <= w_in;
    end
endmodule
