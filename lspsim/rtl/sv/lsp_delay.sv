// N cycles of delay for one word.
module lsp_delay #(
    parameter int WIDTH = 8,
    parameter int N = 1
) (
    input  logic             clk,
    input  logic [WIDTH-1:0] d,
    output logic [WIDTH-1:0] q
);
    if (N == 0) begin : g_wire
        logic unused;
        assign unused = clk;
        assign q = d;
    end else if (N == 1) begin : g_one
        always_ff @(posedge clk) q <= d;
    end else begin : g_line
        logic [N*WIDTH-1:0] line;
        always_ff @(posedge clk) line <= {line[(N-1)*WIDTH-1:0], d};
        assign q = line[(N-1)*WIDTH+:WIDTH];
    end
endmodule
