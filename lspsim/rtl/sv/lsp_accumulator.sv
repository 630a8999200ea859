// Two ping-pong accumulator banks of one array column, and their adder.
//
// Stage 0 reads the sum so far (not for the first fold of a visit), stage 1 adds
// what leaves the array and writes. The other bank can be drained meanwhile.
module lsp_accumulator #(
    parameter int ACC = 32,
    parameter int DEPTH = 256,
    parameter int ADDR = 8
) (
    input  logic            clk,
    input  logic            rst,
    // stage 0
    input  logic            valid,
    input  logic            bank,
    input  logic            first,
    input  logic            last,
    input  logic [ADDR-1:0] addr,
    // stage 1
    input  logic [ACC-1:0]  sum,
    output logic            read,
    output logic            write,
    output logic            write_last,
    output logic [ADDR-1:0] write_addr,
    output logic [ACC-1:0]  write_data,
    // drain
    input  logic            drain,
    input  logic            drain_bank,
    input  logic [ADDR-1:0] drain_addr,
    output logic [ACC-1:0]  drain_data
);
    logic bank_1, first_1, drain_bank_1;
    logic [2*ACC-1:0] data;

    assign read = valid && !first;

    for (genvar b = 0; b < 2; b++) begin : g_bank
        logic own;
        assign own = read && bank == (b == 1);
        lsp_sram #(.WIDTH(ACC), .DEPTH(DEPTH), .ADDR(ADDR)) sram (
            .clk,
            .re(own || (drain && drain_bank == (b == 1))),
            .raddr(own ? addr : drain_addr),
            .rdata(data[b*ACC+:ACC]),
            .we(write && bank_1 == (b == 1)),
            .waddr(write_addr),
            .wdata(write_data)
        );
    end

    always_ff @(posedge clk) begin
        write <= valid && !rst;
        bank_1 <= bank;
        first_1 <= first;
        write_last <= last;
        write_addr <= addr;
        drain_bank_1 <= drain_bank;
    end
    assign write_data = (first_1 ? '0 : bank_1 ? data[ACC+:ACC] : data[0+:ACC]) + sum;
    assign drain_data = drain_bank_1 ? data[ACC+:ACC] : data[0+:ACC];
endmodule
