// R x C weight-stationary processing elements. Operands enter at the left, row r
// delayed by r cycles; weights and sums move down, column c delayed by c cycles.
module lsp_array #(
    parameter int R = 4,
    parameter int C = 4,
    parameter int W = 8,
    parameter int A = 8,
    parameter int ACC = 32,
    parameter bit DOUBLE = 1
) (
    input  logic             clk,
    input  logic [R*A-1:0]   a_left,
    input  logic [R-1:0]     first_left,
    input  logic [R-1:0]     shift_left,
    input  logic [C*W-1:0]   w_top,
    output logic [C*ACC-1:0] p_bottom
);
    for (genvar r = 0; r < R; r++) begin : g_row
        for (genvar c = 0; c < C; c++) begin : g_col
            // what leaves at the right and below goes nowhere
            /* verilator lint_off UNUSEDSIGNAL */
            logic [A-1:0]   a_in, a_out;
            logic           first_in, first_out, shift_in, shift_out;
            logic [W-1:0]   w_in, w_out;
            logic [ACC-1:0] p_in, p_out;
            /* verilator lint_on UNUSEDSIGNAL */

            if (c == 0) begin : g_left
                assign a_in = a_left[r*A+:A];
                assign first_in = first_left[r];
                assign shift_in = shift_left[r];
            end else begin : g_inner
                assign a_in = g_row[r].g_col[c-1].a_out;
                assign first_in = g_row[r].g_col[c-1].first_out;
                assign shift_in = g_row[r].g_col[c-1].shift_out;
            end
            if (r == 0) begin : g_top
                assign w_in = w_top[c*W+:W];
                assign p_in = '0;
            end else begin : g_below
                assign w_in = g_row[r-1].g_col[c].w_out;
                assign p_in = g_row[r-1].g_col[c].p_out;
            end

            lsp_pe #(.W(W), .A(A), .ACC(ACC), .DOUBLE(DOUBLE)) pe (.*);

            if (r == R - 1) begin : g_bottom
                assign p_bottom[c*ACC+:ACC] = p_out;
            end
        end
    end
endmodule
