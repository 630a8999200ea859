// Takes the results out, visit by visit, empty tile columns included.
//
// A result for DRAM leaves while its transfer holds the channel, as the DMA pulls
// its rows, and after it if the channel is faster than a row per cycle. A result that
// stays on chip leaves after the transfer (of a header) if there is one, one row per
// cycle. An empty column has no bank: its rows are zero.
module lsp_writeback #(
    parameter int ADDR = 8,
    parameter int NUM = 24
) (
    input  logic            clk,
    input  logic            rst,
    // list: one entry per visit
    input  logic            out_valid,
    output logic            out_ready,
    input  logic            out_empty,
    input  logic            out_request,
    input  logic            out_dram,
    input  logic [ADDR:0]   out_rows,
    // array
    input  logic            visit_started,
    input  logic            visit_done,
    output logic            bank_free,
    // channel
    output logic            request,
    input  logic            accept,
    input  logic            over,
    input  logic            pull,
    // accumulators
    output logic            drain,
    output logic            drain_zero,
    output logic            drain_bank,
    output logic [ADDR-1:0] drain_addr,
    output logic [NUM-1:0]  visits_done,
    output logic [NUM-1:0]  visits_out
);
    logic asked, answered, bank;
    logic [ADDR:0] drained;
    logic [1:0] in_use;
    logic [NUM-1:0] taken;
    logic ready, channel_done, rows_done;

    assign bank_free = in_use < 2;
    assign ready = out_valid && (out_empty || visits_done > taken);
    assign request = ready && out_request && !asked;
    assign channel_done = !out_request || answered || over;
    assign drain = ready && drained != out_rows
                   && (out_dram ? pull : !out_request || answered);
    assign rows_done = drained + (ADDR + 1)'(drain) == out_rows;
    assign out_ready = ready && channel_done && rows_done;
    assign drain_zero = out_empty;
    assign drain_bank = bank;
    assign drain_addr = drained[ADDR-1:0];

    always_ff @(posedge clk) begin
        if (rst) begin
            asked <= 1'b0;
            answered <= 1'b0;
            bank <= 1'b0;
            drained <= '0;
            in_use <= '0;
            taken <= '0;
            visits_done <= '0;
            visits_out <= '0;
        end else begin
            asked <= (asked || accept) && !out_ready;
            answered <= (answered || over) && !out_ready;
            drained <= out_ready ? '0 : drained + (ADDR + 1)'(drain);
            visits_done <= visits_done + NUM'(visit_done);
            visits_out <= visits_out + NUM'(out_ready);
            in_use <= in_use + 2'(visit_started) - 2'(out_ready && !out_empty);
            if (out_ready && !out_empty) begin
                bank <= !bank;
                taken <= taken + 1;
            end
        end
    end
endmodule
