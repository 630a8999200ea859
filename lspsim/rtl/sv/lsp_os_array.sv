// R x C output-stationary processing elements. X enters at the left, row r delayed
// by r cycles; W at the top, column c delayed by c cycles; sums leave below.
module lsp_os_array #(
    parameter int R = 4,
    parameter int C = 4,
    parameter int W = 8,
    parameter int A = 8,
    parameter int ACC = 32
) (
    input  logic             clk,
    input  logic [R*A-1:0]   a_left,
    input  logic [R-1:0]     first_left,
    input  logic [R-1:0]     last_left,
    input  logic [R-1:0]     move_left,
    input  logic [C*W-1:0]   w_top,
    output logic [C*ACC-1:0] y_bottom,
    output logic             summed    // the last element has ended a sum
);
    for (genvar r = 0; r < R; r++) begin : g_row
        for (genvar c = 0; c < C; c++) begin : g_col
            // what leaves at the right and below goes nowhere
            /* verilator lint_off UNUSEDSIGNAL */
            logic [A-1:0]   a_in, a_out;
            logic           first_in, first_out, last_in, last_out, move_in, move_out;
            logic [W-1:0]   w_in, w_out;
            logic [ACC-1:0] y_in, y_out;
            /* verilator lint_on UNUSEDSIGNAL */

            if (c == 0) begin : g_left
                assign a_in = a_left[r*A+:A];
                assign first_in = first_left[r];
                assign last_in = last_left[r];
                assign move_in = move_left[r];
            end else begin : g_inner
                assign a_in = g_row[r].g_col[c-1].a_out;
                assign first_in = g_row[r].g_col[c-1].first_out;
                assign last_in = g_row[r].g_col[c-1].last_out;
                assign move_in = g_row[r].g_col[c-1].move_out;
            end
            if (r == 0) begin : g_top
                assign w_in = w_top[c*W+:W];
                assign y_in = '0;
            end else begin : g_below
                assign w_in = g_row[r-1].g_col[c].w_out;
                assign y_in = g_row[r-1].g_col[c].y_out;
            end

            lsp_os_pe #(.W(W), .A(A), .ACC(ACC)) pe (.*);

            if (r == R - 1) begin : g_bottom
                assign y_bottom[c*ACC+:ACC] = y_out;
            end
        end
    end
    assign summed = g_row[R-1].g_col[C-1].last_out;
endmodule
