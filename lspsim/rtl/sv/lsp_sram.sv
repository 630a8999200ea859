// A memory with one write and one synchronous read port, as an SRAM macro has.
module lsp_sram #(
    parameter int WIDTH = 32,
    parameter int DEPTH = 256,
    parameter int ADDR = 8
) (
    input  logic             clk,
    input  logic             re,
    input  logic [ADDR-1:0]  raddr,
    output logic [WIDTH-1:0] rdata,
    input  logic             we,
    input  logic [ADDR-1:0]  waddr,
    input  logic [WIDTH-1:0] wdata
);
    logic [WIDTH-1:0] mem[DEPTH];
    always_ff @(posedge clk) begin
        if (we) mem[waddr] <= wdata;
        if (re) rdata <= mem[raddr];
    end
endmodule
